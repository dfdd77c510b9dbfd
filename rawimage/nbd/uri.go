package nbd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// DefaultPort is the TCP port of a URI that names none.
const DefaultPort = "10809"

// target is what a URI names.
type target struct {
	network, address string
	export           string
	tls              *tls.Config // nil: no TLS
}

// parseURI reads the URIs of the protocol's document (doc/uri.md):
//
//	nbd://HOST[:PORT]/[EXPORT]        nbd+unix:///[EXPORT]?socket=PATH
//	nbds://HOST[:PORT]/[EXPORT]       nbds+unix:///[EXPORT]?socket=PATH
//
// The parameter tls-certificates names a directory with ca-cert.pem, and
// client-cert.pem and client-key.pem if the server wants them.
func parseURI(raw string) (*target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, pkg.Errorf("%w: %w", ErrURI, errors.Unwrap(err))
	}
	secure := strings.HasPrefix(u.Scheme, "nbds")
	t := &target{export: strings.TrimPrefix(u.Path, "/")}
	switch strings.Replace(u.Scheme, "nbds", "nbd", 1) {
	case "nbd":
		if u.Hostname() == "" {
			return nil, pkg.Errorf("%w: %q names no host", ErrURI, raw)
		}
		port := u.Port()
		if port == "" {
			port = DefaultPort
		}
		t.network, t.address = "tcp", net.JoinHostPort(u.Hostname(), port)
	case "nbd+unix":
		t.network, t.address = "unix", u.Query().Get("socket")
		if t.address == "" || u.Host != "" {
			return nil, pkg.Errorf("%w: %q: want %s:///EXPORT?socket=PATH", ErrURI, raw, u.Scheme)
		}
	default:
		return nil, pkg.Errorf("%w: scheme %q: want nbd, nbds, nbd+unix or nbds+unix", ErrURI, u.Scheme)
	}
	if len(t.export) > maxString {
		return nil, pkg.Errorf("%w: export name of %d bytes, at most %d", ErrURI, len(t.export), maxString)
	}
	if secure {
		t.tls, err = tlsConfig(u)
	}
	return t, err
}

func tlsConfig(u *url.URL) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}
	if name := u.Query().Get("tls-hostname"); name != "" {
		cfg.ServerName = name
	}
	if cfg.ServerName == "" {
		cfg.ServerName = "localhost"
	}
	dir := u.Query().Get("tls-certificates")
	if dir == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca-cert.pem"))
	if err != nil {
		return nil, pkg.Errorf("certificates: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, pkg.Errorf("%w: ca-cert.pem in %s holds no certificate", ErrURI, dir)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client-cert.pem"), filepath.Join(dir, "client-key.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		return cfg, nil
	}
	if err != nil {
		return nil, pkg.Errorf("client certificate: %w", err)
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}
