package imstest

import (
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

const codeAuth = "APIGW.0301"

// apiError is an error of the image service or of the gateway in front of it.
// Its code selects the form of the answer.
type apiError struct {
	Status        int
	Code, Message string
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

func bad(code, msg string) *apiError { return &apiError{http.StatusBadRequest, code, msg} }

func writeAPIError(w http.ResponseWriter, r *http.Request, e *apiError) {
	body, _ := documentedShape(IMS, e.Code).body(e, r)
	sendJSON(w, r, e.Status, body)
}

func writeJSONAnswer(w http.ResponseWriter, r *http.Request, status int, v any) {
	sendJSON(w, r, status, marshal(v))
}

func sendJSON(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Request-Id", requestID(r))
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func deny(why string) *apiError {
	return &apiError{http.StatusUnauthorized, codeAuth, "Incorrect IAM authentication information: " + why}
}

// authenticate checks a token or recomputes an SDK-HMAC-SHA256 signature.
func (s *Server) authenticate(r *http.Request, body []byte) *apiError {
	if t := r.Header.Get("X-Auth-Token"); t != "" {
		if subtle.ConstantTimeCompare([]byte(t), []byte(s.Token())) != 1 {
			return deny("token invalid or expired")
		}
		return nil
	}
	rest, ok := strings.CutPrefix(r.Header.Get("Authorization"), "SDK-HMAC-SHA256 ")
	if !ok {
		return deny("no token and no signature")
	}
	f := authFields(rest)
	k := s.currentKeys()
	if f["Access"] != k.access {
		return deny("access key unknown")
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Sdk-Date"))
	if d := s.clock().Sub(at); err != nil || d > maxSkew || d < -maxSkew {
		return deny("signature expired or X-Sdk-Date missing")
	}
	if r.Header.Get("X-Security-Token") != k.token {
		return deny("security token missing, invalid or expired")
	}
	signed := strings.Split(f["SignedHeaders"], ";")
	if e := checkSigned(signed); e != nil {
		return e
	}
	want := sdkSignature(r, body, signed, k.secret)
	if subtle.ConstantTimeCompare([]byte(f["Signature"]), []byte(want)) != 1 {
		return deny("verify aksk signature fail")
	}
	if p := r.Header.Get("X-Project-Id"); p != "" && p != s.projectID {
		return &apiError{http.StatusForbidden, "APIGW.0302", "The project does not belong to the user."}
	}
	return nil
}

// authFields splits the fields of an Authorization header.
func authFields(list string) map[string]string {
	f := map[string]string{}
	for p := range strings.SplitSeq(list, ",") {
		name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		f[name] = v
	}
	return f
}

// checkSigned checks the names of the headers that a signature covers.
func checkSigned(signed []string) *apiError {
	if !slices.Contains(signed, "x-sdk-date") || !slices.Contains(signed, "host") || !slices.IsSorted(signed) {
		return deny("signed headers incomplete")
	}
	for _, h := range signed {
		if h == "content-type" || strings.Contains(h, "_") || h != strings.ToLower(h) {
			return deny("signed headers contain " + h)
		}
	}
	return nil
}

// sdkSignature is the signature of the vendor's gateway.
func sdkSignature(r *http.Request, body []byte, signed []string, secret string) string {
	c := canonicalRequest(r, strings.TrimSuffix(canonicalPath(r), "/")+"/", signed, strings.TrimSpace, hexSum(body))
	toSign := "SDK-HMAC-SHA256\n" + r.Header.Get("X-Sdk-Date") + "\n" + hexSum([]byte(c))
	return hex.EncodeToString(mac([]byte(secret), toSign))
}
