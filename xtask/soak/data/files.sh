# $1 server, $2 folder, $3 number, $4 small requests, $5 the file that /large is.
# One connection: small requests until it is adopted, a large answer, small ones, a large body, small ones.
set -e
down=$2/down-$3
up=$2/files/up/$3
trap 'rm -f "$down" "$up"' EXIT
curl -sSf --max-time 170 --rate 200/s -o /dev/null "$1/small?[1-$4]" -o "$down" "$1/large" \
    --next -sSf --rate 200/s -o /dev/null "$1/small?[1-$4]" --next -sSf -T "$down" "$1/up/$3" \
    --next -sSf -o /dev/null "$1/small"
cmp "$down" "$5"
cmp "$up" "$5"
echo "{\"bytes\":$(($(stat -c %s "$5") * 2))}"
