package cloud

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"html"
	"net"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Code names, for programs, why an endpoint cannot be reached as it is
// configured.
type Code string

// Codes of PermanentError.
const (
	CodeUnknownAuthority   Code = "unknown-authority"   // certificate signed by an authority that is not trusted
	CodeInvalidCertificate Code = "invalid-certificate" // certificate of another host, expired, or not valid yet
	CodeTLSHandshake       Code = "tls-handshake"       // no TLS connection, whatever the certificate
	CodeNotTLS             Code = "not-tls"             // https asked of a port that does not speak TLS
	CodeTLSPort            Code = "tls-port"            // http asked of a port that speaks TLS
	CodeUnknownHost        Code = "unknown-host"        // the name does not resolve
	CodeHTMLPage           Code = "html-page"           // a web page in place of the service's answer
	CodeProxyAuth          Code = "proxy-auth"          // the proxy wants a user and a password
)

// PermanentError is a failure that another attempt would not cure: the caller
// has to change something first.
type PermanentError struct {
	Code Code
	Host string // that was asked, "" if unknown
	Err  error
}

func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *PermanentError) Unwrap() error { return e.Err }

// Permanent returns err as a *PermanentError if it is one, or an error of a
// transport that no retry cures; else nil. A name that does not resolve counts
// from the second attempt on: resolvers fail for a moment when a network starts.
func Permanent(err error, attempt int) *PermanentError {
	if p, ok := errors.AsType[*PermanentError](err); ok {
		return p
	}
	if code := permanentCode(err, attempt); code != "" {
		return &PermanentError{Code: code, Err: err}
	}
	return nil
}

func permanentCode(err error, attempt int) Code {
	if code := certificateCode(err); code != "" {
		return code
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound && attempt > 1 {
		return CodeUnknownHost
	}
	if errors.Is(err, http.ErrSchemeMismatch) {
		return CodeNotTLS
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return CodeNotTLS
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" && refusals[op.Err.Error()] {
		return CodeTLSHandshake
	}
	// net/http has no types for these two.
	switch text := fmt.Sprint(err); {
	case strings.Contains(text, `malformed HTTP response "\x15\x03`): // a TLS alert
		return CodeTLSPort
	case strings.HasSuffix(text, http.StatusText(http.StatusProxyAuthRequired)):
		return CodeProxyAuth
	}
	return ""
}

// refusals are the alerts with which a server refuses a handshake; crypto/tls
// has no type for them. Others, of a damaged record say, may pass.
var refusals = map[string]bool{
	"tls: handshake failure":              true,
	"tls: protocol version not supported": true,
	"tls: insufficient security level":    true,
	"tls: bad certificate":                true,
	"tls: certificate required":           true,
	"tls: unrecognized name":              true,
}

func certificateCode(err error) Code {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return CodeUnknownAuthority
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return CodeInvalidCertificate
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return CodeInvalidCertificate
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return CodeInvalidCertificate
	}
	return ""
}

// Page looks at the start of an answer's body and reports, as a
// *PermanentError, one that no service of the cloud gives: a web page, or a TLS
// port's complaint about http. It is nil for everything else, and for a web page
// with status 408, 429 or 5xx, which is what a proxy shows during an outage.
func Page(resp *http.Response, start []byte) *PermanentError {
	host := ""
	if resp.Request != nil {
		host = resp.Request.URL.Host
	}
	overHTTP := resp.Request != nil && resp.Request.URL.Scheme == "http"
	if overHTTP && resp.StatusCode == http.StatusBadRequest && bytes.Contains(start, []byte("HTTPS")) &&
		(bytes.Contains(start, []byte("HTTP request to an HTTPS server")) || bytes.Contains(start, []byte("plain HTTP request"))) {
		return &PermanentError{CodeTLSPort, host, errors.New("the server wants https")}
	}
	if resp.StatusCode == http.StatusProxyAuthRequired {
		return &PermanentError{CodeProxyAuth, host, errors.New(http.StatusText(resp.StatusCode))}
	}
	if !isHTML(resp.Header.Get("Content-Type"), start) || passing(resp.StatusCode) {
		return nil
	}
	text := fmt.Sprintf("HTTP %d with a web page", resp.StatusCode)
	if title := HTMLTitle(start); title != "" {
		text += fmt.Sprintf(" titled %q", title)
	}
	return &PermanentError{CodeHTMLPage, host, errors.New(text)}
}

// passing statuses are worth another attempt.
func passing(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500
}

func isHTML(contentType string, start []byte) bool {
	start = bytes.ToLower(bytes.TrimLeft(start, "\ufeff \t\r\n"))
	if bytes.HasPrefix(start, []byte("<!doctype html")) || bytes.HasPrefix(start, []byte("<html")) {
		return true
	}
	// Some services declare their XML or JSON as text/html.
	return strings.HasPrefix(contentType, "text/html") && len(start) > 0 &&
		!bytes.HasPrefix(start, []byte("<?xml")) && !bytes.HasPrefix(start, []byte("<error")) && start[0] != '{'
}

var titleElement = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)

// HTMLTitle returns the title of a web page, clipped; "" if it has none.
func HTMLTitle(page []byte) string {
	m := titleElement.FindSubmatch(page)
	if m == nil {
		return ""
	}
	return Clip(html.UnescapeString(string(m[1])))
}

// maxText is how many bytes of a server's text get into an error.
const maxText = 300

// Clip makes one line of a text that a server chose and cuts it to about 300
// bytes, at a rune boundary. Control characters become spaces.
func Clip(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }), " ")
	if len(s) <= maxText {
		return s
	}
	cut := maxText
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "..."
}
