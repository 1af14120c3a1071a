# Makes a key and a certificate for it, and prints both.
#
#   certificate.sh authority NAME         one that issues others
#   certificate.sh issue NAMES [FLAG..]   one that is issued by the authority at
#                                         standard input, for NAMES as in
#                                         `DNS:zk.example,IP:192.0.2.1`; flags of
#                                         `openssl ca`, as -startdate and -enddate
set -euo pipefail

readonly configuration='
[req]
prompt = no
distinguished_name = nobody
x509_extensions = authority
[nobody]
commonName = nobody
[authority]
basicConstraints = critical, CA:TRUE
[ca]
default_ca = issue
[issue]
database = issued
new_certs_dir = .
rand_serial = yes
default_md = sha256
default_days = 3650
policy = any
copy_extensions = copy
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = CA:FALSE
'

main() {
    local what=$1 name=$2
    shift 2
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    cd "$folder"
    echo "$configuration" >configuration
    case $what in
    authority) make_request -x509 -days 3650 -subj "/CN=$name" -out certificate ;;
    issue) issue "$name" "$@" ;;
    esac
    cat key certificate
}

issue() {
    local names=$1
    shift
    cat >authority
    touch issued
    make_request ${names:+-addext "subjectAltName=$names"} -out request
    openssl ca -config configuration -batch -notext -cert authority -keyfile authority \
        -in request -out certificate "$@"
}

make_request() {
    openssl req -config configuration -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
        -nodes -keyout key "$@"
}

main "$@"
