package nbd

import (
	"github.com/fastimage/fastimage/internal/pkgerr"

	"fmt"
)

const pkg = pkgerr.Package("nbd")

// Conditions, for use with errors.Is.
var (
	// ErrURI means that a URI is not one of an NBD export.
	ErrURI = pkg.New("invalid URI")
	// ErrProtocol means that the server sent what the protocol does not allow.
	ErrProtocol = pkg.New("protocol error")
	// ErrUnsupported means that the server speaks a form of the protocol that is
	// not supported, such as the oldstyle handshake.
	ErrUnsupported = pkg.New("unsupported server")
	// ErrNoExport means that the server has no export of that name.
	ErrNoExport = pkg.New("no such export")
	// ErrTLSRequired means that the server takes TLS connections only: use nbds://.
	ErrTLSRequired = pkg.New("server requires TLS")
	// ErrNoTLS means that the server has no TLS, for an nbds:// URI.
	ErrNoTLS = pkg.New("server does not support TLS")
	// ErrChanged means that the size of the export changed while it was read.
	ErrChanged = pkg.New("export changed while in use")
	// ErrStalled means that the server sent nothing for the stall timeout.
	ErrStalled = pkg.New("server stalled")
	// ErrClosed means that the Export was closed.
	ErrClosed = pkg.New("export is closed")
)

// RequestError reports a request that failed for good.
type RequestError struct {
	Op     string // "read" or "block status"
	Offset int64  // byte of the disk
	Length int64  // bytes asked for
	Err    error  // the last failure: a *ServerError, one of the conditions above, or an error of the network
}

// Error implements error.
func (e *RequestError) Error() string { return "nbd: " + e.Text() }

// Text is Error without the package's name.
func (e *RequestError) Text() string {
	return fmt.Sprintf("%s of %d bytes at offset %d: %s", e.Op, e.Length, e.Offset, pkgerr.Text(e.Err))
}

// Unwrap returns Err.
func (e *RequestError) Unwrap() error { return e.Err }

// ServerError is an error that the server answered with.
type ServerError struct {
	Code    uint32 // of the protocol: 5 is EIO, 22 EINVAL, 28 ENOSPC, 108 ESHUTDOWN, ...
	Message string // the server's; may be empty
}

// Error implements error.
func (e *ServerError) Error() string {
	name, ok := map[uint32]string{
		1: "EPERM", 5: "EIO", 12: "ENOMEM", 22: "EINVAL", 28: "ENOSPC", 75: "EOVERFLOW", 95: "ENOTSUP", 108: "ESHUTDOWN",
	}[e.Code]
	if !ok {
		name = fmt.Sprintf("error %d", e.Code)
	}
	if e.Message != "" {
		return fmt.Sprintf("server: %s: %q", name, e.Message)
	}
	return "server: " + name
}

func protocolError(format string, args ...any) error {
	return pkg.Errorf("%w: %s", ErrProtocol, fmt.Sprintf(format, args...))
}
