# The names of services in Consul's DNS for the containers of all other apps, on each node.
job "core" {
  datacenters = ["lyon", "brest"]
  type        = "system"
  priority    = 90

  update {
    max_parallel = 1
    stagger      = "1m"
  }

  group "dns" {
    network {
      port "dns" {
        static       = 5300
        host_network = "default"
      }
    }

    task "coredns" {
      driver = "docker"

      config {
        image        = "coredns/coredns:1.11.3"
        args         = ["-conf", "/etc/coredns/Corefile"]
        network_mode = "host"
        volumes      = ["local/Corefile:/etc/coredns/Corefile:ro"]
      }

      template {
        data        = file("../config/Corefile")
        destination = "local/Corefile"
      }

      resources {
        cpu        = 50
        memory     = 64
        memory_max = 128
      }

      service {
        name = "core-dns"
        port = "dns"

        check {
          type     = "tcp"
          interval = "30s"
          timeout  = "5s"
        }
      }
    }
  }
}
