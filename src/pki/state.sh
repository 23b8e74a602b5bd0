# Prints the state of units, and of files with certificates and keys. Runs as root. Arguments: unit NAME or file PATH,
# repeated.
#   unit NAME LOADED ACTIVE PID STARTED      STARTED in seconds since 1970, 0 for a unit that does not run
#   crt CHANGED BASE64 PATH                  a certificate; CHANGED in seconds since 1970, of the file or its link, the later
#   key CHANGED SHA256 PATH                  the digest of a key
#   none PATH                                no such file
#   end                                      the end of the answer
set -u
export LC_ALL=C
while [ $# -ge 2 ]; do
    case $1 in
    unit)
        loaded=$(systemctl show -p LoadState --value -- "$2")
        active=$(systemctl show -p ActiveState --value -- "$2")
        pid=$(systemctl show -p MainPID --value -- "$2")
        started=$(systemctl show --timestamp=us+utc -p ExecMainStartTimestamp --value -- "$2")
        if [ -n "$started" ] && [ "$started" != n/a ]; then
            started=$(date -u -d "$started" +%s.%6N)
        else
            started=0
        fi
        echo "unit $2 $loaded $active ${pid:-0} $started"
        ;;
    file)
        if [ -f "$2" ]; then
            changed=$({ stat -c %.6Z -- "$2"; stat -L -c %.6Z -- "$2"; } | sort -n | tail -n 1)
            case $2 in
            *.key) echo "key $changed $(sha256sum <"$2" | cut -d ' ' -f 1) $2" ;;
            *) echo "crt $changed $(base64 -w 0 <"$2") $2" ;;
            esac
        else
            echo "none $2"
        fi
        ;;
    esac
    shift 2
done
echo end
