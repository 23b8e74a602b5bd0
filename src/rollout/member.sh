# Whether this node is a member of its Consul or its Nomad, as root, by the node's own certificates: asked of the agent
# here, answered by the leader. Arguments: consul or nomad, its unit, its port for HTTPS, the name that its
# certificate holds, the folder of its certificates, the node's name.
daemon=$1 unit=$2 port=$3 name=$4 folder=$5 node=$6
if ! systemctl is-active --quiet -- "$unit"; then
  echo "$unit does not run"
  exit 1
fi
case $daemon in
consul) path=/v1/health/node/$node condition='CheckID == "serfHealth" and Status == "passing"' ;;
nomad) path=/v1/nodes condition="Name == \"$node\" and Status == \"ready\"" ;;
esac
said=$(curl --silent --show-error --fail --max-time 5 --noproxy '*' --cacert "$folder/$daemon-ca.crt" \
  --cert "$folder/$daemon.crt" --key "$folder/$daemon.key" --connect-to "::127.0.0.1:$port" \
  --get --data-urlencode "filter=$condition" "https://$name:$port$path" 2>&1) || {
  echo "$said"
  exit 1
}
case $said in
'[]' | null | '')
  echo "the leader does not count it as alive"
  exit 1
  ;;
esac
