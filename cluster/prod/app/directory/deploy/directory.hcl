# The people and groups of the cluster, by LDAP, kept in Consul.
job "directory" {
  datacenters = ["lyon", "brest"]
  type        = "service"
  priority    = 80

  group "bottin" {
    count = 1

    network {
      port "ldap" { static = 389 }
    }

    update {
      max_parallel     = 1
      min_healthy_time = "10s"
    }

    task "bottin" {
      driver = "docker"

      config {
        image        = "dxflrs/bottin:7h18i30cckckaahv87d3c86pn4a7q41z"
        network_mode = "host"
        volumes      = ["secrets/config.json:/config.json:ro", "secrets:/etc/bottin/tls:ro"]
      }

      env {
        CONSUL_HTTP_ADDR   = "https://127.0.0.1:8501"
        CONSUL_CACERT      = "/etc/bottin/tls/consul-ca.crt"
        CONSUL_CLIENT_CERT = "/etc/bottin/tls/consul-client.crt"
        CONSUL_CLIENT_KEY  = "/etc/bottin/tls/consul-client.key"
      }

      template {
        data        = file("../config/bottin.json")
        destination = "secrets/config.json"
        perms       = "400"
      }
      template {
        data        = "{{ key \"secrets/directory/ldap.crt\" }}"
        destination = "secrets/ldap.crt"
      }
      template {
        data        = "{{ key \"secrets/directory/ldap.key\" }}"
        destination = "secrets/ldap.key"
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
        cpu    = 100
        memory = 100
      }

      service {
        name = "bottin"
        port = "ldap"

        check {
          type     = "tcp"
          interval = "30s"
          timeout  = "5s"
        }
      }
    }
  }
}
