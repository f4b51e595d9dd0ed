#!/bin/sh
# Records CMP messages of OpenSSL's client and mock server into this folder. See README.md.
#
#   OPENSSL=/path/to/openssl ./make.sh [FOLDER]
#
# Client and server run in one process (-use_mock_srv), so nothing listens anywhere. Keys are made anew each time and
# thrown away; messages, certificates and the secret below are what the tests read. Cases that the program at hand does
# not know (genm of caCerts needs 3.2, certProfile 3.3) are left out with a note.
set -eu

openssl=${OPENSSL:-openssl}
here=$(cd "$(dirname "$0")" && pwd)
version=$("$openssl" version | cut -d' ' -f2)
out=$here/${1:-openssl-$version}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
rm -f "$out"/*.der
cd "$work"

# --- keys and certificates, valid for a hundred years -----------------------------------------------------------------
days=36500
ca_ext='basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign,digitalSignature
subjectKeyIdentifier=hash'
ee_ext='keyUsage=critical,digitalSignature
subjectKeyIdentifier=hash
subjectAltName=DNS:ee.example,IP:192.0.2.7'

new_key() { # NAME ALGORITHM
    case $2 in
        ec) "$openssl" genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.key" ;;
        rsa) "$openssl" genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$1.key" ;;
        ed25519) "$openssl" genpkey -algorithm ED25519 -out "$1.key" ;;
    esac 2>/dev/null
}

new_certificate() { # NAME SUBJECT EXTENSIONS [ISSUER]
    printf '%s\n' "$3" >"$1.ext"
    "$openssl" req -new -config /dev/null -subj "$2" -key "$1.key" -out "$1.csr" 2>/dev/null ||
        "$openssl" req -new -subj "$2" -key "$1.key" -out "$1.csr"
    if [ $# -gt 3 ]; then
        "$openssl" x509 -req -in "$1.csr" -CA "$4.crt" -CAkey "$4.key" -CAcreateserial -days $days \
            -extfile "$1.ext" -out "$1.crt" 2>/dev/null
    else
        "$openssl" x509 -req -in "$1.csr" -signkey "$1.key" -days $days -extfile "$1.ext" -out "$1.crt" 2>/dev/null
    fi
}

for pair in root:ec server:ec device:ec device-rsa:rsa device-ed25519:ed25519 new:ec new-rsa:rsa; do
    new_key "${pair%%:*}" "${pair##*:}"
done
new_certificate root '/O=Vectors/CN=Root' "$ca_ext"
new_certificate server '/O=Vectors/CN=CMP Server' "$ee_ext" root
new_certificate device '/O=Vectors/CN=device' "$ee_ext" root
new_certificate device-rsa '/O=Vectors/CN=device-rsa' "$ee_ext" root
new_certificate device-ed25519 '/O=Vectors/CN=device-ed25519' "$ee_ext" root
new_certificate new '/O=Vectors/CN=ee.example' "$ee_ext" root
new_certificate new-rsa '/O=Vectors/OU=RSA/CN=ee.example' "$ee_ext" root
for name in root server device device-rsa device-ed25519 new new-rsa; do
    "$openssl" x509 -in $name.crt -outform DER -out "$out/cert-$name.der"
done

# --- messages ---------------------------------------------------------------------------------------------------------
server='-use_mock_srv -srv_ref user1 -srv_secret pass:vectors-secret -srv_cert server.crt -srv_key server.key
    -srv_trusted root.crt -rsp_cert new.crt -rsp_extracerts root.crt'
pbm='-ref user1 -secret pass:vectors-secret'
signed='-cert device.crt -key device.key -extracerts root.crt -trusted root.crt'
new='-newkey new.key -certout got.pem'
subject='/O=Vectors/CN=ee.example'

record() { # NAME OPTIONS..: messages NAME-1-req.der, NAME-1-rsp.der, ..
    name=$1
    shift
    requests= responses=
    for i in 1 2 3 4 5 6 7 8; do
        requests=$requests${requests:+,}$out/$name-$i-req.der
        responses=$responses${responses:+,}$out/$name-$i-rsp.der
    done
    # Word splitting is wanted: the option lists above are lists.
    # shellcheck disable=SC2086
    "$openssl" cmp -config '' $server "$@" -recipient '/O=Vectors/CN=CMP Server' -reqout "$requests" \
        -rspout "$responses" >"$name.log" 2>&1 || true
    if [ ! -s "$out/$name-1-req.der" ]; then
        echo "left out: $name (unknown to OpenSSL $version)"
    fi
}

# shellcheck disable=SC2086
{
    record ir-pbm $pbm -cmd ir $new -subject "$subject" -sans ee.example
    record ir-pbm-sha256 $pbm -mac hmacWithSHA256 -digest sha512 -cmd ir $new -subject "$subject" -implicit_confirm \
        -grant_implicitconf
    record ir-pbm-sha512 $pbm -mac hmacWithSHA512 -digest sha256 -cmd ir $new -subject "$subject" -implicit_confirm \
        -grant_implicitconf
    record ir-capubs $pbm -cmd ir $new -subject "$subject" -rsp_capubs root.crt -cacertsout ca.pem
    record ir-ec $signed -cmd ir $new -subject "$subject" -days 30 -issuer /O=Vectors/CN=Root -out_trusted root.crt
    record ir-rsa -cert device-rsa.crt -key device-rsa.key -trusted root.crt -cmd ir -newkey new-rsa.key \
        -rsp_cert new-rsa.crt -certout got.pem -subject '/O=Vectors/OU=RSA/CN=ee.example'
    record ir-rsa-pss -cert device-rsa.crt -key device-rsa.key -trusted root.crt -cmd ir $new -subject "$subject" \
        -digest sha384
    record ir-ed25519 -cert device-ed25519.crt -key device-ed25519.key -trusted root.crt -cmd ir $new \
        -subject "$subject"
    record ir-policies $signed -cmd ir $new -subject "$subject" -policy_oids 1.2.3.4,1.2.3.5 -policy_oids_critical \
        -geninfo 1.2.3:int:4711
    record ir-ravverified $signed -cmd ir $new -subject "$subject" -popo 0 -accept_raverified
    record ir-polled $pbm -cmd ir $new -subject "$subject" -poll_count 2 -check_after 1
    record ir-mods $signed -cmd ir $new -subject "$subject" -pkistatus 1 -statusstring 'changed a little'
    record ir-rejected $signed -cmd ir $new -subject "$subject" -pkistatus 2 -failurebits 524289 \
        -statusstring 'not like this'
    record ir-error $signed -cmd ir $new -subject "$subject" -send_error -failure 2 -statusstring 'bad request'
    record ir-error-unprotected $signed -cmd ir $new -subject "$subject" -send_error -send_unprot_err \
        -unprotected_errors
    record ir-unprotected $signed -cmd ir $new -subject "$subject" -unprotected_requests -accept_unprotected \
        -send_unprotected
    record ir-other-key $signed -cmd ir -newkey new-rsa.key -certout got.pem -subject "$subject"
    record cr $signed -cmd cr $new -subject "$subject"
    record kur -cert new.crt -key new.key -trusted root.crt -cmd kur -oldcert new.crt $new -rsp_cert new.crt
    record p10cr $signed -cmd p10cr -csr new.csr -certout got.pem
    record p10cr-pbm $pbm -cmd p10cr -csr new.csr -certout got.pem
    record rr -cert new.crt -key new.key -trusted root.crt -cmd rr -oldcert new.crt -revreason 4
    record rr-rejected -cert new.crt -key new.key -trusted root.crt -cmd rr -oldcert new.crt -pkistatus 2 -failure 10
    record genm $signed -cmd genm -infotype signKeyPairTypes
    record genm-cacerts $signed -cmd genm -infotype caCerts -rsp_capubs root.crt -cacertsout ca.pem
    record genm-rootupdate $signed -cmd genm -infotype rootCaCert -oldwithold root.crt -newwithnew n.pem \
        -rsp_newwithnew root.crt
    record ir-profile $signed -cmd cr $new -subject "$subject" -profile profile1
    record cr-polled-all $signed -cmd cr $new -subject "$subject" -poll_count 1 -check_after 1
}

# What is not there after all.
find "$out" -name '*.der' -size 0 -delete
echo "recorded $(find "$out" -name '*-re?.der' -o -name '*-rsp.der' | wc -l) messages of OpenSSL $version in $out"
