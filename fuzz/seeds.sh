#!/usr/bin/env bash
# Makes the first inputs of the fuzz targets, below fuzz/seeds, out of the golden
# frames in tests/vectors and a few lines of text.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# As in `OPCODES` in src/records.rs: the place of an opcode picks it.
readonly opcodes=(create delete exists getData setData getChildren sync ping
    getChildren2 create2 auth setWatches closeSession)

main() {
    mkdir -p seeds/{frame,request,reply,handshake,connect_string,znode_path,claim_name}
    mkdir -p seeds/session_machine
    local vector
    for vector in ../tests/vectors/*.json; do
        from_vector "$vector"
    done
    frames
    connect_strings
    znode_paths
    claim_names
}

# The keys that count stand on lines of their own, those of `decoded` behind
# exactly two blanks.
from_vector() {
    local name hex='' kind='' op='' line
    name=$(basename "$1" .json)
    while IFS= read -r line; do
        case $line in
            ' "hex": '*) hex=$(value "$line") ;;
            '  "kind": '*) kind=$(value "$line") ;;
            '  "op": '*) op=$(value "$line") ;;
        esac
    done <"$1"
    local payload=${hex:8}
    bytes "00$hex" >"seeds/frame/$name"
    case $kind in
        Request) bytes "$payload" >"seeds/request/$name" ;;
        Reply | WatcherEvent) bytes "$(place_of "$op")$payload" >"seeds/reply/$name" ;;
        ConnectRequest | ConnectResponse) bytes "$payload" >"seeds/handshake/$name" ;;
    esac
}

# A handshake that is cut at its fortieth byte, two frames in pieces of three,
# and lengths that are none. The first byte says how many of the next are sizes
# of pieces, less one.
frames() {
    local welcome ping=00000010fffffffe0000000000000007 prefix
    welcome=00000025$(printf '00%.0s' {1..37})
    bytes "0127$welcome" >seeds/frame/handshake_cut
    bytes "0102${ping}00000000$ping" >seeds/frame/two_in_pieces
    for prefix in ffffffff fffffffb 00000000 00000003 0000000f 01000000 01000001 \
        7fffffff 48545450 16030100; do
        bytes "00$prefix" >"seeds/frame/prefix_$prefix"
    done
}

connect_strings() {
    lines seeds/connect_string <<'END'
localhost
localhost:2181
a:1, b , c:65535/x/y
[fe80::1]:99,127.0.0.1/
[::1
a:0
a,,b
a:1/b//c
END
}

znode_paths() {
    local number=0 path
    for path in / /a /a/b/c /é/锁 a /a/ //a /a/../b /a/.b; do
        number=$((number + 1))
        printf '%s\n/b/c' "$path" >"seeds/znode_path/below_$number"
        printf '/x\n%s' "${path#/}" >"seeds/znode_path/child_$number"
    done
}

# The own number, then a listing.
claim_names() {
    local ours=_c_01000012307200050000000000000
    bytes 0000001b >seeds/claim_name/alone
    {
        bytes 0000001b
        printf '%s/' "${ours}002-lock-0000000026" "${ours}001-lock-0000000025" \
            83c1bcf372c265e9ac7ee364e5d3bac5__lock__0000000024 lock-0000000028 shard1
    } >seeds/claim_name/queue
    {
        bytes 80000001
        printf '%s/' a-2147483647 a--2147483648 lock-2147483648 x-000000001
        bytes fffe
        printf '0000000001'
    } >seeds/claim_name/wrapped
}

lines() {
    local number=0 line
    while IFS= read -r line; do
        number=$((number + 1))
        printf '%s' "$line" >"$1/line_$number"
    done
}

# The text in the last pair of quotes of a line.
value() {
    local rest=${1%\"*}
    printf '%s' "${rest##*\"}"
}

place_of() {
    local place
    for place in "${!opcodes[@]}"; do
        if [[ ${opcodes[place]} == "$1" ]]; then
            printf '%02x' "$place"
            return
        fi
    done
    printf 00
}

# The bytes that hexadecimal digits stand for.
bytes() {
    local escaped='' index
    for ((index = 0; index < ${#1}; index += 2)); do
        escaped+="\\x${1:index:2}"
    done
    printf '%b' "$escaped"
}

main
