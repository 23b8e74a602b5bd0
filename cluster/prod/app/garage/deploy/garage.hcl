# Object storage, one instance on each node.
job "garage" {
  datacenters = ["lyon", "brest"]
  type        = "system"
  priority    = 80

  update {
    max_parallel = 1
    stagger      = "2m"
  }

  group "garage" {
    network {
      port "s3" { static = 3900 }
      port "rpc" { static = 3901 }
    }

    task "garage" {
      driver = "docker"

      config {
        image        = "dxflrs/garage:v1.0.1"
        command      = "/garage"
        args         = ["server"]
        network_mode = "host"
        volumes = [
          "secrets/garage.toml:/etc/garage.toml:ro",
          "secrets:/etc/garage:ro",
          "/var/lib/garage/data:/data",
          "/var/lib/garage/meta:/meta",
        ]
      }

      template {
        data        = file("../config/garage.toml")
        destination = "secrets/garage.toml"
        perms       = "400"
      }

      # Consul takes requests by mutual TLS only. What it asks for is published in it for jobs.
      template {
        data        = "{{ key \"secrets/consul/consul-ca.crt\" }}"
        destination = "secrets/consul-ca.crt"
      }
      template {
        data        = "{{ key \"secrets/consul/consul-client.crt\" }}"
        destination = "secrets/consul-client.crt"
      }
      template {
        data        = "{{ key \"secrets/consul/consul-client.key\" }}"
        destination = "secrets/consul-client.key"
        perms       = "400"
      }

      resources {
        cpu        = 500
        memory     = 512
        memory_max = 2048
      }

      kill_timeout = "20s"

      service {
        name = "garage-s3"
        port = "s3"
        tags = ["frontend s3.prod.example.org"]

        check {
          type     = "tcp"
          interval = "30s"
          timeout  = "5s"
        }
      }
    }
  }
}
