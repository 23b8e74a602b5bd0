# The way in from outside: HTTP and HTTPS on the nodes tagged for it, to the services that ask for a name by the Consul tag
# "frontend <name>".
job "frontend" {
  datacenters = ["lyon", "brest"]
  type        = "service"
  priority    = 80

  group "caddy" {
    count = 1

    network {
      port "http" { static = 80 }
      port "https" { static = 443 }
    }

    update {
      max_parallel     = 1
      min_healthy_time = "10s"
      healthy_deadline = "5m"
    }

    task "caddy" {
      driver = "docker"

      config {
        image        = "caddy:2.8.4-alpine"
        network_mode = "host"
        volumes      = ["local/Caddyfile:/etc/caddy/Caddyfile:ro", "local/acme:/data"]
      }

      # Written anew when a service comes or goes.
      template {
        data          = file("../config/Caddyfile.tpl")
        destination   = "local/Caddyfile"
        change_mode   = "script"
        change_script {
          command = "/usr/bin/caddy"
          args    = ["reload", "--config", "/etc/caddy/Caddyfile"]
        }
      }

      resources {
        cpu        = 200
        memory     = 128
        memory_max = 512
      }

      service {
        name = "frontend"
        port = "https"

        check {
          type     = "tcp"
          interval = "15s"
          timeout  = "5s"
        }
      }
    }
  }
}
