package httpfile

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Conditions, for use with errors.Is.
var (
	// ErrURL means that a URL is not one of a file on an HTTP server.
	ErrURL = errors.New("httpfile: invalid URL")
	// ErrChanged means that the file is no longer what it was when it was opened.
	ErrChanged = errors.New("httpfile: file changed while in use")
	// ErrNoRanges means that the server does not support range requests: the file
	// can only be read from its start to its end.
	ErrNoRanges = errors.New("httpfile: server does not support ranges")
	// ErrEmpty means that the file has no bytes.
	ErrEmpty = errors.New("httpfile: file is empty")
	// ErrEncoded means that the server sends the file in a content encoding,
	// though it was asked not to.
	ErrEncoded = errors.New("httpfile: server encodes the content")
	// ErrRedirect means too many redirects, or one that is not followed.
	ErrRedirect = errors.New("httpfile: redirect refused")
	// ErrAnswer means that an answer contradicts the request or itself.
	ErrAnswer = errors.New("httpfile: unexpected answer")
	// ErrTruncated means that a stream ended before the length the server named.
	ErrTruncated = errors.New("httpfile: stream is truncated")
)

// Error reports a request that failed for good. Err is one of the conditions
// above, a [*StatusError], or an error of the network.
type Error struct {
	URL    string // without user, password and query
	Offset int64  // in the file, of the first byte that could not be read
	Err    error
}

// Error implements error.
func (e *Error) Error() string {
	return fmt.Sprintf("httpfile: %s: at offset %d: %v", e.URL, e.Offset, e.Err)
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
