# Measurements of all nodes' Nomad, kept for a month.
job "telemetry" {
  datacenters = ["lyon", "brest"]
  type        = "service"

  group "prometheus" {
    count = 1

    network {
      port "http" { to = 9090 }
    }

    ephemeral_disk {
      migrate = true
      size    = 2000
      sticky  = true
    }

    task "prometheus" {
      driver = "docker"

      config {
        image = "prom/prometheus:v2.55.1"
        args = [
          "--config.file=/etc/prometheus/prometheus.yml",
          "--storage.tsdb.path=/alloc/data",
          "--storage.tsdb.retention.time=30d",
        ]
        ports   = ["http"]
        volumes = ["local/prometheus.yml:/etc/prometheus/prometheus.yml:ro", "secrets:/etc/pki:ro"]
      }

      template {
        data        = file("../config/prometheus.yml")
        destination = "local/prometheus.yml"
        change_mode = "restart"
      }

      # Published in Consul for jobs, like Consul's own.
      template {
        data        = "{{ key \"secrets/nomad/nomad-ca.crt\" }}"
        destination = "secrets/nomad-ca.crt"
      }
      template {
        data        = "{{ key \"secrets/nomad/nomad-client.crt\" }}"
        destination = "secrets/nomad-client.crt"
      }
      template {
        data        = "{{ key \"secrets/nomad/nomad-client.key\" }}"
        destination = "secrets/nomad-client.key"
        perms       = "400"
      }

      resources {
        cpu        = 200
        memory     = 256
        memory_max = 1024
      }

      service {
        name = "prometheus"
        port = "http"
        tags = ["frontend prometheus.prod.example.org"]

        check {
          type     = "http"
          path     = "/-/healthy"
          interval = "30s"
          timeout  = "5s"
        }
      }
    }
  }
}
