package quickimport_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
)

// vectorTime is when the vectors below are signed, in a zone that is not UTC.
var vectorTime = time.Date(2026, 2, 3, 20, 5, 6, 0, time.FixedZone("", 8*3600))

// vector is a request written out by hand: its canonical form is not computed
// from the request but stands here as the API notes describe it.
type vector struct {
	name, method, url, body string
	header                  [][2]string
	creds                   quickimport.Credentials
	project                 string

	uri, query string   // of the canonical request
	lines      []string // its headers, sorted
}

func vectors() []vector {
	keys := quickimport.Credentials{AccessKey: testAK, SecretKey: testSK}
	temporary := keys
	temporary.SecurityToken = "temporary+/="
	const host, date = "host:ims.example.com", "x-sdk-date:20260203T120506Z"
	return []vector{
		{name: "root", method: "GET", url: "https://ims.example.com", creds: keys, uri: "/", lines: []string{host, date}},
		{name: "slash is added", method: "POST", url: "https://ims.example.com/v2/cloudimages", body: `{"name":"中"}`, creds: keys,
			uri: "/v2/cloudimages/", lines: []string{host, date}},
		{name: "slash is there", method: "GET", url: "https://ims.example.com/v2/x/", creds: keys, uri: "/v2/x/", lines: []string{host, date}},
		{name: "double slash", method: "GET", url: "https://ims.example.com/v2//x", creds: keys, uri: "/v2//x/", lines: []string{host, date}},
		{name: "spaces", method: "GET", url: "https://ims.example.com/a%20b/c+d", creds: keys, uri: "/a%20b/c%2Bd/", lines: []string{host, date}},
		{name: "not ASCII", method: "GET", url: "https://ims.example.com/像/é~", creds: keys, uri: "/%E5%83%8F/%C3%A9~/", lines: []string{host, date}},
		{name: "percent sign", method: "GET", url: "https://ims.example.com/100%25/x%2525", creds: keys, uri: "/100%25/x%2525/", lines: []string{host, date}},
		{name: "slash within a segment", method: "GET", url: "https://ims.example.com/a%2Fb/c", creds: keys, uri: "/a%2Fb/c/", lines: []string{host, date}},
		{name: "unreserved and reserved", method: "GET", url: "https://ims.example.com/-_.~/!$&'()*,;=:@", creds: keys,
			uri: "/-_.~/%21%24%26%27%28%29%2A%2C%3B%3D%3A%40/", lines: []string{host, date}},
		{name: "port", method: "GET", url: "http://127.0.0.1:8080/x", creds: keys, uri: "/x/", lines: []string{"host:127.0.0.1:8080", date}},
		{name: "empty values", method: "GET", url: "https://ims.example.com/x?b=&a", creds: keys, uri: "/x/", query: "a=&b=", lines: []string{host, date}},
		{name: "repeated key", method: "GET", url: "https://ims.example.com/x?k=b&k=a&k=B&k=", creds: keys, uri: "/x/", query: "k=&k=B&k=a&k=b", lines: []string{host, date}},
		{name: "names that others begin with", method: "GET", url: "https://ims.example.com/x?a-b=1&a1=2&a=3&ab=4", creds: keys,
			uri: "/x/", query: "a=3&a-b=1&a1=2&ab=4", lines: []string{host, date}},
		{name: "sorted as encoded", method: "GET", url: "https://ims.example.com/x?z=1&%E5%83%8F=2&Z=3&_=4&%7E=5&+=6", creds: keys,
			uri: "/x/", query: "%20=6&%E5%83%8F=2&Z=3&_=4&z=1&~=5", lines: []string{host, date}},
		{name: "encoded values", method: "GET", url: "https://ims.example.com/x?name=a+b%2Bc%26d%3De%2Ff%25g*%C3%A9", creds: keys,
			uri: "/x/", query: "name=a%20b%2Bc%26d%3De%2Ff%25g%2A%C3%A9", lines: []string{host, date}},
		{name: "white space of headers", method: "GET", url: "https://ims.example.com/x", creds: keys,
			header: [][2]string{{"X-Padded", " \t two  words \t"}, {"X-Empty", ""}, {"Accept", "application/json"}},
			uri:    "/x/", lines: []string{"accept:application/json", host, "x-empty:", "x-padded:two  words", date}},
		{name: "headers left out", method: "POST", url: "https://ims.example.com/x", body: "{}", creds: keys,
			header: [][2]string{{"Content-Type", "application/json"}, {"X_Under_Score", "1"}, {"Authorization", "stale"}, {"X-Kept", "ü"}},
			uri:    "/x/", lines: []string{host, "x-kept:ü", date}},
		{name: "project and security token", method: "DELETE", url: "https://ims.example.com/v2/images/1?x=y", creds: temporary, project: "p-1",
			uri: "/v2/images/1/", query: "x=y", lines: []string{host, "x-project-id:p-1", date, "x-security-token:temporary+/="}},
	}
}

// sorted puts the vector's headers into the order of their names; the vectors
// list x-sdk-date where it reads best.
func (v vector) sorted() (names []string, lines string) {
	left := append([]string{}, v.lines...)
	for len(left) > 0 {
		least := 0
		for i := range left {
			a, _, _ := strings.Cut(left[i], ":")
			b, _, _ := strings.Cut(left[least], ":")
			if a < b {
				least = i
			}
		}
		name, _, _ := strings.Cut(left[least], ":")
		names, lines = append(names, name), lines+left[least]+"\n"
		left = append(left[:least], left[least+1:]...)
	}
	return names, lines
}

// want is the Authorization header, by the description alone. The HMAC is
// written out (RFC 2104), so that it shares nothing with the signer but SHA-256.
func (v vector) want() string {
	names, lines := v.sorted()
	signed := strings.Join(names, ";")
	canonical := v.method + "\n" + v.uri + "\n" + v.query + "\n" + lines + "\n" + signed + "\n" + fmt.Sprintf("%x", sha256.Sum256([]byte(v.body)))
	toSign := "SDK-HMAC-SHA256\n20260203T120506Z\n" + fmt.Sprintf("%x", sha256.Sum256([]byte(canonical)))
	return "SDK-HMAC-SHA256 Access=" + v.creds.AccessKey + ", SignedHeaders=" + signed + ", Signature=" + plainHMAC(v.creds.SecretKey, toSign)
}

func plainHMAC(key, text string) string {
	inner, outer := make([]byte, 64), make([]byte, 64)
	copy(inner, key)
	copy(outer, key)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	sum := sha256.Sum256(append(inner, text...))
	return fmt.Sprintf("%x", sha256.Sum256(append(outer, sum[:]...)))
}

func TestSignatureVectors(t *testing.T) {
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			r, err := http.NewRequest(v.method, v.url, nil)
			require.NoError(t, err)
			for _, h := range v.header {
				r.Header[h[0]] = append(r.Header[h[0]], h[1])
			}
			quickimport.Sign(r, []byte(v.body), v.creds, v.project, vectorTime)
			require.Equal(t, v.want(), r.Header.Get("Authorization"))
			require.Equal(t, "20260203T120506Z", r.Header.Get("X-Sdk-Date"))
		})
	}
}

// RFC 4231, test case 2.
func TestPlainHMAC(t *testing.T) {
	require.Equal(t, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", plainHMAC("Jefe", "what do ya want for nothing?"))
}

// A token goes in the place of a signature.
func TestSignWithAToken(t *testing.T) {
	r, err := http.NewRequest("GET", "https://ims.example.com/x", nil)
	require.NoError(t, err)
	quickimport.Sign(r, nil, quickimport.Credentials{Token: "tok", AccessKey: testAK, SecretKey: testSK}, "p-1", vectorTime)
	require.Equal(t, http.Header{"X-Auth-Token": {"tok"}, "X-Project-Id": {"p-1"}}, r.Header)
}

// What goes out on the wire is what was signed, for every odd path and query.
func TestSignedURLsSurviveTheWire(t *testing.T) {
	for _, v := range vectors() {
		u, err := url.Parse(v.url)
		require.NoError(t, err)
		again, err := url.Parse("http://ims.example.com" + u.RequestURI())
		require.NoError(t, err)
		r := &http.Request{Method: v.method, URL: again, Host: u.Host, Header: http.Header{}}
		for _, h := range v.header {
			r.Header[h[0]] = append(r.Header[h[0]], h[1])
		}
		quickimport.Sign(r, []byte(v.body), v.creds, v.project, vectorTime)
		require.Equal(t, v.want(), r.Header.Get("Authorization"), v.name)
	}
}
