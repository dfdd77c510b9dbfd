package imstest

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/fastimage/fastimage/quickimport"
)

// Options point a [quickimport.Client] at the server, with credentials that it takes.
func (s *Server) Options() []quickimport.Option {
	k := s.currentKeys()
	return []quickimport.Option{
		quickimport.WithRegion(s.Region()),
		quickimport.WithIMSEndpoint(s.IMSEndpoint()),
		quickimport.WithOBSEndpoint(s.OBSEndpoint()),
		quickimport.WithIAMEndpoint(s.IAMEndpoint()),
		quickimport.WithCredentials(quickimport.StaticCredentials(quickimport.Credentials{
			AccessKey: k.access, SecretKey: k.secret, SecurityToken: k.token,
		})),
	}
}

// Handler returns the whole cloud as one handler, to mount behind TLS or in a
// mux at "/". It tells the services apart by host name (ims.*, iam.*), else by
// path. The server's own listeners work beside it; [Server.Close] does not wait
// for requests that came by way of the handler.
func (s *Server) Handler() http.Handler { return s.handler("") }

// Client returns an HTTP client that reaches the server whatever host name a
// URL has: ims.* the image service, iam.* the identity service, other names the
// object store, so that bucket.obs.example.com works without a resolver.
// Loopback and IP addresses are dialled as they are. URLs are http, not https.
func (s *Server) Client() *http.Client { return s.client }

func (s *Server) newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if host != "localhost" && net.ParseIP(host) == nil {
			service := OBS
			for _, name := range []string{IMS, IAM} {
				if strings.HasPrefix(host, name+".") {
					service = name
				}
			}
			addr = strings.TrimPrefix(s.urls[service], "http://")
		}
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}}}
}
