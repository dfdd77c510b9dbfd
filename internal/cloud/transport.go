package cloud

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"
)

// TransportConfig configures NewTransport. The zero value is ready to use.
type TransportConfig struct {
	// RootCAs are the certificate authorities to trust. Default: the system's.
	RootCAs *x509.CertPool
	// Proxy returns the proxy for a request. Default: the environment's.
	Proxy func(*http.Request) (*url.URL, error)
	// Connections is how many idle connections are kept per host. Default: 128,
	// more than any number of parts in flight.
	Connections int
}

// NewTransport returns a transport for one attempt at a time (see Client). It
// is made from scratch: http.DefaultTransport keeps two connections per host,
// which would dial again for every other part, speaks HTTP/2, and belongs to
// the application, which may have replaced it with something else.
func NewTransport(cfg TransportConfig) *http.Transport {
	if cfg.Proxy == nil {
		cfg.Proxy = http.ProxyFromEnvironment
	}
	if cfg.Connections == 0 {
		cfg.Connections = 128
	}
	// One HTTP/2 connection would put all parts behind one congestion window.
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &http.Transport{
		Proxy:               cfg.Proxy,
		DialContext:         (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: cfg.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 15 * time.Second,
		Protocols:           &http1,
		MaxIdleConns:        2 * cfg.Connections,
		MaxIdleConnsPerHost: cfg.Connections,
		IdleConnTimeout:     60 * time.Second,
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
		DisableCompression:  true,
	}
}
