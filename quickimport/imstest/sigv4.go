package imstest

import (
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxSkew is how far a request's date may be from the server's clock.
const maxSkew = 15 * time.Minute

// checkV4 recomputes the signature of the received request. It shares no code
// with the SDK that clients sign with.
func (o *obs) checkV4(r *http.Request) error {
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return refuse("AccessDenied", "Access Denied: a signature of version 4 in the Authorization header is needed.")
	}
	f := authFields(rest)
	scope := strings.Split(f["Credential"], "/")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if len(scope) != 5 || err != nil || scope[1] != at.Format("20060102") || scope[3] != "s3" || scope[4] != "aws4_request" || scope[2] != o.region {
		return refuse("AuthorizationHeaderMalformed", "The authorization header is malformed; expecting region '"+o.region+"', service 's3' and the request's date.")
	}
	k := o.currentKeys()
	if scope[0] != k.access {
		return refuse("InvalidAccessKeyId", "The access key id you provided does not exist in our records.")
	}
	if d := o.clock().Sub(at); d > maxSkew || d < -maxSkew {
		return refuse("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	}
	if r.Header.Get("X-Amz-Security-Token") != k.token {
		return refuse("InvalidToken", "The security token is missing, invalid or expired.")
	}
	signed := strings.Split(f["SignedHeaders"], ";")
	want := v4Signature(r, signed, scope[1:], k.secret)
	if subtle.ConstantTimeCompare([]byte(f["Signature"]), []byte(want)) != 1 || !allSigned(r, signed) {
		return refuse("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	return nil
}

// allSigned reports whether host and every x-amz header are covered.
func allSigned(r *http.Request, signed []string) bool {
	for _, k := range []string{"host", "x-amz-date", "x-amz-content-sha256"} {
		if !slices.Contains(signed, k) {
			return false
		}
	}
	for k := range r.Header {
		if k = strings.ToLower(k); strings.HasPrefix(k, "x-amz-") && !slices.Contains(signed, k) {
			return false
		}
	}
	return true
}

// oneSpace trims a header's value and makes each run of spaces one.
func oneSpace(s string) string { return strings.Join(strings.Fields(s), " ") }

// v4Signature is the signature of version 4, with the key derived from the
// parts of the credential's scope: date, region, service and aws4_request.
func v4Signature(r *http.Request, signed, scope []string, secret string) string {
	c := canonicalRequest(r, canonicalPath(r), signed, oneSpace, r.Header.Get("X-Amz-Content-Sha256"))
	toSign := "AWS4-HMAC-SHA256\n" + r.Header.Get("X-Amz-Date") + "\n" + strings.Join(scope, "/") + "\n" + hexSum([]byte(c))
	key := []byte("AWS4" + secret)
	for _, part := range scope {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, toSign))
}
