package imstest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// canonicalRequest renders a received request as both schemes sign it: method,
// path, query, signed headers with their values cleaned, their names, and the
// digest of the body.
func canonicalRequest(r *http.Request, path string, signed []string, clean func(string) string, digest string) string {
	var c strings.Builder
	c.WriteString(r.Method + "\n" + path + "\n" + canonicalQuery(r) + "\n")
	for _, h := range signed {
		c.WriteString(h + ":" + clean(headerValue(r, h)) + "\n")
	}
	c.WriteString("\n" + strings.Join(signed, ";") + "\n" + digest)
	return c.String()
}

// canonicalPath is the path with each segment percent-encoded, however the
// client encoded it.
func canonicalPath(r *http.Request) string {
	segs := strings.Split(r.URL.EscapedPath(), "/")
	for i, seg := range segs {
		if raw, err := url.PathUnescape(seg); err == nil {
			seg = raw
		}
		segs[i] = percent(seg)
	}
	return strings.Join(segs, "/")
}

// canonicalQuery is sorted by name, then by value: NUL sorts before every
// character of a name.
func canonicalQuery(r *http.Request) string {
	var pairs []string
	for k, vs := range r.URL.Query() {
		for _, v := range vs {
			pairs = append(pairs, percent(k)+"\x00"+percent(v))
		}
	}
	slices.Sort(pairs)
	return strings.ReplaceAll(strings.Join(pairs, "&"), "\x00", "=")
}

// headerValue returns the value of a signed header. net/http keeps two of them elsewhere.
func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	return strings.Join(r.Header.Values(name), ",")
}

func mac(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func hexSum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// percent encodes all but unreserved characters.
func percent(s string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.~", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}
