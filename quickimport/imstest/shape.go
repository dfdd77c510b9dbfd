package imstest

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"
)

// EchoRequest stands in a fault's Message and Body for the request as it was
// received, with all its headers: an answer that gives secrets back.
const EchoRequest = "{request}"

const maxEcho = 64 << 10 // bytes of a request that EchoRequest becomes

// Shape is the form of the body of an answer that a fault makes up.
type Shape string

// The shapes. Each carries the fault's code and message where it has a place for them.
const (
	ShapeIMS        Shape = "ims"         // {"error":{"code":"IMG.0060","message":"..."}}
	ShapeGateway    Shape = "gateway"     // {"error_code":"APIGW.0201","error_msg":"...","request_id":"..."}
	ShapeFlat       Shape = "flat"        // {"code":"...","message":"..."}
	ShapeString     Shape = "string"      // {"error":"..."}
	ShapeBadRequest Shape = "bad-request" // {"badRequest":{"code":400,"message":"..."}}
	ShapeObjects    Shape = "objects"     // {"error":{"code":{...},"message":{...}}}: objects where strings are expected
	ShapeNumbers    Shape = "numbers"     // {"error_code":504,"error_msg":504}
	ShapeList       Shape = "list"        // [{"code":"...","message":"..."}]
	ShapeNull       Shape = "null"        // null
	ShapeCutOff     Shape = "cut-off"     // JSON that ends in the middle
	ShapeXML        Shape = "xml"         // the object store's <Error>
	ShapeHTML       Shape = "html"        // a page with the message as its title
	ShapeText       Shape = "text"        // the message
	ShapeEmpty      Shape = "empty"       // nothing
	ShapeRedirect   Shape = "redirect"    // a page, and a Location to a login host
)

var allShapes = []Shape{ShapeIMS, ShapeGateway, ShapeFlat, ShapeString, ShapeBadRequest, ShapeObjects, ShapeNumbers, ShapeList,
	ShapeNull, ShapeCutOff, ShapeXML, ShapeHTML, ShapeText, ShapeEmpty, ShapeRedirect}

// answer sends the answer that the fault makes up.
func (f *Fault) answer(w http.ResponseWriter, r *http.Request, rec *Request, now time.Time) {
	h := w.Header()
	if f.RetryAfter != "" {
		h.Set("Retry-After", retryAfter(f.RetryAfter, now))
	}
	e := &apiError{f.Status, f.Code, strings.ReplaceAll(f.Message, EchoRequest, rec.echo())}
	if e.Code == "" {
		e.Code = usualCode(rec.Service, f.Status)
	}
	shape := f.Shape
	if shape == "" {
		shape = documentedShape(rec.Service, e.Code)
	}
	body, kind := shape.body(e, r)
	if f.Body != "" {
		body, kind = []byte(strings.ReplaceAll(f.Body, EchoRequest, rec.echo())), http.DetectContentType([]byte(f.Body))
	}
	setIDs(h, rec.Service, rec.RequestID)
	if kind != "" {
		h.Set("Content-Type", kind)
	}
	if shape == ShapeRedirect {
		h.Set("Location", "https://login.example.com/")
	}
	for k, vs := range f.Header {
		h[http.CanonicalHeaderKey(k)] = vs
	}
	w.WriteHeader(f.Status)
	if r.Method != http.MethodHead && f.Status >= 200 && f.Status != http.StatusNoContent && f.Status != http.StatusNotModified {
		_, _ = w.Write(body)
	}
}

// retryAfter renders "+30s" as the date that much after now.
func retryAfter(v string, now time.Time) string {
	if d, err := time.ParseDuration(v); err == nil && strings.HasPrefix(v, "+") {
		return now.Add(d).UTC().Format(http.TimeFormat)
	}
	return v
}

func documentedShape(service, code string) Shape {
	switch {
	case service == OBS:
		return ShapeXML
	case strings.HasPrefix(code, "IMG."):
		return ShapeIMS
	}
	return ShapeGateway
}

// usualCode is the code that a service gives with a status.
func usualCode(service string, status int) string {
	obs := map[int]string{400: "InvalidRequest", 401: "AccessDenied", 403: "AccessDenied", 404: "NoSuchKey", 405: "MethodNotAllowed",
		409: "OperationAborted", 411: "MissingContentLength", 412: "PreconditionFailed", 416: "InvalidRange", 501: "NotImplemented", 503: "SlowDown"}
	ims := map[int]string{400: "IMG.0001", 401: codeAuth, 403: "APIGW.0302", 404: "APIGW.0101", 429: "APIGW.0308"}
	codes, other := ims, "APIGW.0201"
	if service == OBS {
		codes, other = obs, "InternalError"
	}
	if c := codes[status]; c != "" {
		return c
	}
	return other
}

// body renders an error in the shape, with its content type.
func (s Shape) body(e *apiError, r *http.Request) (body []byte, contentType string) {
	type m = map[string]any
	flat := m{"code": e.Code, "message": e.Message}
	page := fmt.Sprintf("<html><head><title>%s</title></head><body><h1>%[1]s</h1></body></html>\n", html.EscapeString(pageTitle(e)))
	var v any
	switch s {
	case ShapeIMS:
		v = m{"error": flat}
	case ShapeGateway:
		v = m{"error_code": e.Code, "error_msg": e.Message, "request_id": requestID(r)}
	case ShapeFlat:
		v = flat
	case ShapeString:
		v = m{"error": e.Message}
	case ShapeBadRequest:
		v = m{"badRequest": m{"code": e.Status, "message": e.Message}}
	case ShapeObjects:
		v = m{"error": m{"code": m{"value": e.Code}, "message": m{"text": e.Message}}}
	case ShapeNumbers:
		v = m{"error_code": e.Status, "error_msg": e.Status}
	case ShapeList:
		v = []any{flat}
	case ShapeXML:
		return errorXML(r, e.Code, e.Message), "application/xml"
	case ShapeHTML, ShapeRedirect:
		return []byte(page), "text/html; charset=utf-8"
	case ShapeText:
		return []byte(e.Message), "text/plain; charset=utf-8"
	case ShapeEmpty:
		return nil, ""
	}
	out := marshal(v)
	if s == ShapeCutOff {
		out = marshal(flat)
		out = out[:len(out)/2]
	}
	return out, "application/json"
}

func pageTitle(e *apiError) string {
	if e.Message != "" {
		return e.Message
	}
	return fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
}

// marshal renders v without escaping <, > and &, which would hide what a client must redact.
func marshal(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v)
	return b.Bytes()
}

func errorXML(r *http.Request, code, message string) []byte {
	id := requestID(r)
	data, _ := xml.Marshal(struct {
		XMLName                                    xml.Name `xml:"Error"`
		Code, Message, Resource, RequestId, HostId string
	}{Code: code, Message: message, Resource: r.URL.Path, RequestId: id, HostId: hostID(id)})
	return append([]byte(xml.Header), data...)
}

// setIDs sets the headers by which a service names an answer.
func setIDs(h http.Header, service, id string) {
	if service != OBS {
		h.Set("X-Request-Id", id)
		return
	}
	h.Set("Server", "OBS")
	h.Set("X-Amz-Request-Id", id)
	h.Set("X-Obs-Request-Id", id)
	h.Set("X-Amz-Id-2", hostID(id))
}

// echo renders the request as it was received, at most maxEcho bytes of it.
func (r *Request) echo() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s?%s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.Path, r.Query, r.Host)
	_ = r.Header.Write(&b)
	b.WriteString("\r\n")
	b.Write(r.Body)
	return string(b.Bytes()[:min(b.Len(), maxEcho)])
}
