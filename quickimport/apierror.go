package quickimport

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fastimage/fastimage/internal/cloud"
)

// APIError is an answer of a service that is not a success, in whatever form it
// came.
type APIError struct {
	Op         string        // what was asked for: "create image", "job", "images", "project"
	StatusCode int           // of HTTP
	Code       string        // "IMG.0024", "APIGW.0301"; may be empty
	Message    string        // the service's, at most about 300 bytes on one line, without secrets; may be empty
	RequestID  string        // what the service's support asks for; may be empty
	Retryable  bool          // flow control, 408, 429 and 5xx: a read may be repeated
	RetryAfter time.Duration // what the service asks to wait, 0 if it does not
}

// Error implements error.
func (e *APIError) Error() string { return string(pkg) + ": " + e.Text() }

// Text is Error without the name of the package.
func (e *APIError) Text() string {
	s := fmt.Sprintf("%s: HTTP %d", e.Op, e.StatusCode)
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.RequestID != "" {
		s += " (request " + e.RequestID + ")"
	}
	return s
}

// Is reports whether e is of the condition target.
func (e *APIError) Is(target error) bool {
	switch target {
	case ErrAuthentication:
		return e.StatusCode == http.StatusUnauthorized
	case ErrForbidden:
		return e.StatusCode == http.StatusForbidden && !e.flowControl()
	case ErrNotFound:
		return e.StatusCode == http.StatusNotFound || e.Code == "IMG.0121"
	case ErrNameTaken:
		return e.Code == "IMG.0009"
	case ErrQuota:
		return e.Code == "IMG.0015"
	case ErrFlowControl:
		return e.flowControl()
	}
	return false
}

// flowControl reports an answer that says for certain that nothing was done
// because there were too many requests. IMG.0194 is not among them: it is a
// batch that is too large.
func (e *APIError) flowControl() bool {
	return e.Code == "IMG.0060" || e.Code == "APIGW.0308" || e.StatusCode == http.StatusTooManyRequests
}

// refusals are the documented codes that say what is wrong with a request: the
// service has looked at it and done nothing, whatever the HTTP status.
var refusals = []string{
	"IMG.0002", "IMG.0003", "IMG.0004", "IMG.0009", "IMG.0015", "IMG.0017", "IMG.0024", "IMG.0054", "IMG.0055", "IMG.0056", "IMG.0057", "IMG.0058",
	"IMG.0059", "IMG.0060", "IMG.0062", "IMG.0069", "IMG.0115", "IMG.0116", "IMG.0117", "IMG.0121", "IMG.0122", "IMG.0141", "IMG.0157", "IMG.0158",
	"IMG.0159", "IMG.0175", "IMG.0194", "IMG.0212",
}

// refused reports whether the answer proves that the request was not carried out.
func (e *APIError) refused() bool {
	return e.flowControl() || e.StatusCode < 500 && e.StatusCode != http.StatusRequestTimeout || slices.Contains(refusals, e.Code)
}

// apiError reads an answer that is no success, in any of the forms in which
// services, gateways and proxies give them.
func apiError(op string, resp *http.Response, data []byte, creds Credentials) error {
	e := &APIError{Op: op, StatusCode: resp.StatusCode, RetryAfter: cloud.RetryAfter(resp.Header)}
	var f errorForm
	if v, ok := decodeAny(data); ok {
		f.read(v, 0)
	} else {
		f.readXML(data)
	}
	clean := func(s string) string { return cloud.Clip(creds.Redact(s)) }
	e.Code, e.Message = clean(f.code), clean(f.message)
	if e.Code == "" && e.Message == "" {
		e.Message = answerText(resp.Header.Get("Content-Type"), data, creds)
	}
	if to := resp.Header.Get("Location"); to != "" && e.StatusCode/100 == 3 {
		e.Message = clean("redirects to " + withoutQuery(to))
	}
	if e.RequestID = clean(resp.Header.Get("X-Request-Id")); e.RequestID == "" {
		e.RequestID = clean(f.request)
	}
	e.Retryable = e.flowControl() || e.StatusCode >= 500 || e.StatusCode == http.StatusRequestTimeout
	return e
}

// withoutQuery is a URL without what may be a secret.
func withoutQuery(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "an address that is no URL"
	}
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return u.String()
}

// answerText is what can be shown of an answer that is not understood: the title
// of a web page, or its first bytes.
func answerText(contentType string, data []byte, creds Credentials) string {
	if title := cloud.HTMLTitle(data); title != "" {
		return cloud.Clip(creds.Redact("a web page titled " + title))
	}
	if strings.HasPrefix(contentType, "text/html") {
		return "a web page"
	}
	if len(data) == 0 {
		return "an empty answer"
	}
	return cloud.Clip(creds.Redact(string(data)))
}

// errorForm collects what an error body says.
type errorForm struct{ code, message, request string }

// readXML reads the form of the object store, which gateways give as well.
func (f *errorForm) readXML(data []byte) {
	var form struct {
		Code, Message, RequestId string
	}
	if xml.Unmarshal(data, &form) == nil {
		f.code, f.message, f.request = form.Code, form.Message, form.RequestId
	}
}

// maxDepth bounds how deep an answer is looked into.
const maxDepth = 4

// read collects code, message and request id from JSON: {"error": {"code", "message"}},
// {"error_code", "error_msg", "request_id"}, {"code", "message"}, {"error": "..."},
// {"badRequest": {...}}, lists of these, and objects where strings are expected.
func (f *errorForm) read(v any, depth int) {
	if depth > maxDepth {
		return
	}
	switch v := v.(type) {
	case string:
		setIfEmpty(&f.message, v)
	case []any:
		for _, e := range v[:min(len(v), 4)] {
			f.read(e, depth+1)
		}
	case map[string]any:
		for _, k := range []string{"error_code", "code", "errorCode"} {
			setIfEmpty(&f.code, looseText(v[k]))
		}
		for _, k := range []string{"error_msg", "message", "msg", "error_message", "fail_reason", "error_description", "detail"} {
			setIfEmpty(&f.message, looseText(v[k]))
		}
		setIfEmpty(&f.request, looseText(v["request_id"]))
		for _, k := range sortedKeys(v) {
			if _, nested := v[k].(map[string]any); nested || k == "error" {
				f.read(v[k], depth+1)
			}
		}
	}
}

func setIfEmpty(to *string, v string) {
	if *to == "" {
		*to = v
	}
}

func decodeAny(data []byte) (v any, ok bool) {
	return v, json.Unmarshal(data, &v) == nil && v != nil
}
