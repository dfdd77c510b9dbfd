package httpfile

import (
	"github.com/fastimage/fastimage/internal/pkgerr"

	"fmt"
	"net/http"
	"time"
)

const pkg = pkgerr.Package("httpfile")

// Conditions, for use with errors.Is.
var (
	// ErrURL means that a URL is not one of a file on an HTTP server.
	ErrURL = pkg.New("invalid URL")
	// ErrChanged means that the file is no longer what it was when it was opened.
	ErrChanged = pkg.New("file changed while in use")
	// ErrNoRanges means that the server does not support range requests: the file
	// can only be read from its start to its end.
	ErrNoRanges = pkg.New("server does not support ranges")
	// ErrEmpty means that the file has no bytes.
	ErrEmpty = pkg.New("file is empty")
	// ErrEncoded means that the server sends the file in a content encoding,
	// though it was asked not to.
	ErrEncoded = pkg.New("server encodes the content")
	// ErrRedirect means too many redirects, or one that is not followed.
	ErrRedirect = pkg.New("redirect refused")
	// ErrAnswer means that an answer contradicts the request or itself.
	ErrAnswer = pkg.New("unexpected answer")
	// ErrTruncated means that a stream ended before the length the server named.
	ErrTruncated = pkg.New("stream is truncated")
)

// Error reports a request that failed for good. Err is one of the conditions
// above, a [*StatusError], or an error of the network.
type Error struct {
	URL    string // without user, password and query
	Offset int64  // in the file, of the first byte that could not be read
	Err    error
}

// Error implements error.
func (e *Error) Error() string { return "httpfile: " + e.Text() }

// Text is Error without the package's name.
func (e *Error) Text() string {
	return fmt.Sprintf("%s: at offset %d: %s", e.URL, e.Offset, pkgerr.Text(e.Err))
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// StatusError is an answer that is not a success.
type StatusError struct {
	StatusCode int    // of HTTP
	Title      string // of the page that came with it; may be empty

	after time.Duration // what the server asks to wait
}

// Error implements error.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("HTTP %d %s", e.StatusCode, http.StatusText(e.StatusCode))
	if e.Title != "" {
		s += fmt.Sprintf(" (%q)", e.Title)
	}
	return s
}
