package imstest

import (
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// maxSkew is how far a request's date may be from the server's clock.
const maxSkew = 15 * time.Minute

// checkV4 signs the received request's signed headers again and compares.
func (o *obs) checkV4(r *http.Request) error {
	got := r.Header.Get("Authorization")
	rest, ok := strings.CutPrefix(got, "AWS4-HMAC-SHA256 ")
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
	want, err := o.signAgain(r, signed, at, k)
	if err != nil || subtle.ConstantTimeCompare([]byte(normalAuth(got)), []byte(normalAuth(want))) != 1 || !allSigned(r, signed) {
		return refuse("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided.")
	}
	return nil
}

func normalAuth(s string) string { return strings.ReplaceAll(s, ", ", ",") }

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

func (o *obs) signAgain(r *http.Request, signed []string, at time.Time, k keys) (string, error) {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	r2 := &http.Request{Method: r.Method, Host: r.Host, Header: http.Header{},
		URL: &url.URL{Scheme: "http", Host: r.Host, Opaque: "//" + r.Host + path, RawQuery: query}}
	for _, h := range signed {
		switch h {
		case "host":
		case "content-length":
			r2.ContentLength = r.ContentLength
		default:
			r2.Header[http.CanonicalHeaderKey(h)] = slices.Clone(r.Header.Values(h))
		}
	}
	cred := aws.Credentials{AccessKeyID: k.access, SecretAccessKey: k.secret}
	signer := v4.NewSigner(func(so *v4.SignerOptions) { so.DisableURIPathEscaping = true })
	err := signer.SignHTTP(r.Context(), cred, r2, r.Header.Get("X-Amz-Content-Sha256"), "s3", o.region, at)
	return r2.Header.Get("Authorization"), err
}
