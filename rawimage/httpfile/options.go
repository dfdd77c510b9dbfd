package httpfile

import (
	"crypto/x509"
	"io/fs"
	"net/http"
	"time"

	"github.com/fastimage/fastimage/internal/cloud"
)

// An Option configures [Open].
type Option func(*options) error

type options struct {
	transport http.RoundTripper
	roots     *x509.CertPool
	header    http.Header
	stall     time.Duration
	budget    time.Duration
	userAgent string
}

// WithTransport sets what carries the requests. Default: HTTP/1.1 with the
// proxy of the environment.
func WithTransport(t http.RoundTripper) Option {
	return func(o *options) error { o.transport = t; return nil }
}

// WithRootCAs sets the certificate authorities to trust in the default
// transport. Default: the system's.
func WithRootCAs(pool *x509.CertPool) Option {
	return func(o *options) error { o.roots = pool; return nil }
}

// WithHeader adds a header to the requests to the URL's own host, for instance
// Authorization. It can be given several times. Default: none.
func WithHeader(name, value string) Option {
	return func(o *options) error {
		if name == "" {
			return pkg.Errorf("header without a name: %w", fs.ErrInvalid)
		}
		o.header.Add(name, value)
		return nil
	}
}

// WithStallTimeout ends an attempt in which (almost) nothing moves for that long,
// 10 ms to 1 h. Default: 60 s.
func WithStallTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d < 10*time.Millisecond || d > time.Hour {
			return pkg.Errorf("stall timeout %v: want 10ms to 1h: %w", d, fs.ErrInvalid)
		}
		o.stall = d
		return nil
	}
}

// WithRetryTime sets for how long a failing request is repeated, 1 ms to 24 h.
// Default: 10 min, and 30 s if nothing has ever listened at the address.
func WithRetryTime(d time.Duration) Option {
	return func(o *options) error {
		if d < time.Millisecond || d > 24*time.Hour {
			return pkg.Errorf("retry time %v: want 1ms to 24h: %w", d, fs.ErrInvalid)
		}
		o.budget = d
		return nil
	}
}

// WithUserAgent sets the User-Agent header. Default: fastimage.
func WithUserAgent(s string) Option {
	return func(o *options) error { o.userAgent = s; return nil }
}

func newOptions(opts []Option) (*options, error) {
	o := &options{header: http.Header{}, stall: cloud.DefaultStall, userAgent: "fastimage"}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	if o.transport != nil && o.roots != nil {
		return nil, pkg.Errorf("WithTransport excludes WithRootCAs: %w", fs.ErrInvalid)
	}
	if o.transport == nil {
		o.transport = cloud.NewTransport(cloud.TransportConfig{RootCAs: o.roots})
	}
	return o, nil
}
