package quickimport

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const signAlgorithm = "SDK-HMAC-SHA256"

// sign authenticates r by token or by the gateway's AK/SK signature. It is
// called for every attempt, since the signature holds the time.
func sign(r *http.Request, body []byte, c Credentials, projectID string, now time.Time) {
	if projectID != "" {
		r.Header.Set("X-Project-Id", projectID)
	}
	if c.Token != "" {
		r.Header.Set("X-Auth-Token", c.Token)
		return
	}
	if c.SecurityToken != "" {
		r.Header.Set("X-Security-Token", c.SecurityToken)
	}
	date := now.UTC().Format("20060102T150405Z")
	r.Header.Set("X-Sdk-Date", date)
	names, headers := canonicalHeaders(r)
	canonical := strings.Join([]string{
		r.Method, canonicalURI(r.URL), canonicalQuery(r.URL.Query()), headers, names, hexSHA256(body),
	}, "\n")
	mac := hmac.New(sha256.New, []byte(c.SecretKey)) // the key itself: no derived key
	mac.Write([]byte(signAlgorithm + "\n" + date + "\n" + hexSHA256([]byte(canonical))))
	r.Header.Set("Authorization", signAlgorithm+" Access="+c.AccessKey+", SignedHeaders="+names+
		", Signature="+hex.EncodeToString(mac.Sum(nil)))
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// percentEncode is RFC 3986: everything but the unreserved characters.
func percentEncode(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// canonicalURI encodes each segment and always ends in a slash. The path is
// split as it is sent: an encoded slash belongs to its segment.
func canonicalURI(u *url.URL) string {
	segments := strings.Split(u.EscapedPath(), "/")
	for i, s := range segments {
		if raw, err := url.PathUnescape(s); err == nil {
			s = raw
		}
		segments[i] = percentEncode(s)
	}
	uri := strings.Join(segments, "/")
	if !strings.HasSuffix(uri, "/") {
		uri += "/"
	}
	return uri
}

// canonicalQuery is sorted by the encoded names, then by the encoded values.
// Whole pairs would not do: '-' and the digits come before '='.
func canonicalQuery(q url.Values) string {
	var pairs [][]string
	for key, values := range q {
		for _, v := range values {
			pairs = append(pairs, []string{percentEncode(key), percentEncode(v)})
		}
	}
	slices.SortFunc(pairs, slices.Compare)
	lines := make([]string, len(pairs))
	for i, p := range pairs {
		lines[i] = strings.Join(p, "=")
	}
	return strings.Join(lines, "&")
}

// canonicalHeaders leaves out content-type and names with '_': gateways on the
// way rewrite or drop them.
func canonicalHeaders(r *http.Request) (names, lines string) {
	host := r.Host
	if host == "" {
		host = r.URL.Host
	}
	values := map[string]string{"host": host}
	for name, v := range r.Header {
		name = strings.ToLower(name)
		if name != "content-type" && name != "authorization" && !strings.Contains(name, "_") {
			values[name] = strings.TrimSpace(strings.Join(v, ","))
		}
	}
	sorted := make([]string, 0, len(values))
	for name := range values {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	var b strings.Builder
	for _, name := range sorted {
		b.WriteString(name + ":" + values[name] + "\n")
	}
	return strings.Join(sorted, ";"), b.String()
}
