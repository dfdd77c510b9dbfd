package quickimport_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/quickimport"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// Authorities, addressing and user agent are those of the client, for the image
// service and the bucket alike; what no retry cures fails at once.
func TestTransportOptions(t *testing.T) {
	t.Parallel()
	srv := imstest.NewServer(t)
	var http2, agents atomic.Int32
	handler := srv.Handler()
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 {
			http2.Add(1)
		}
		if r.UserAgent() == "inventory/1.0" {
			agents.Add(1)
		}
		handler.ServeHTTP(w, r)
	}))
	site.EnableHTTP2 = true
	site.StartTLS()
	defer site.Close()
	opts := append(srv.Options(), quickimport.WithIMSEndpoint(site.URL), quickimport.WithOBSEndpoint(site.URL), quickimport.WithIAMEndpoint(site.URL),
		quickimport.WithPathStyle(true), quickimport.WithStallTimeout(time.Second), quickimport.WithUserAgent("inventory/1.0"), quickimport.WithPolling(time.Millisecond, 20*time.Millisecond))

	c, err := quickimport.New(opts...)
	require.NoError(t, err)
	began := time.Now()
	_, err = c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
	require.Less(t, time.Since(began), time.Minute, "not the retry budget of ten minutes")

	pool := x509.NewCertPool()
	pool.AddCert(site.Certificate())
	c, err = quickimport.New(append(opts, quickimport.WithRootCAs(pool))...)
	require.NoError(t, err)
	_, err = c.Import(t.Context(), quickimport.File(realDisk), demo(srv.Bucket()))
	require.NoError(t, err)
	require.Zero(t, http2.Load())
	require.Greater(t, agents.Load(), int32(10))
	require.NoError(t, c.Close())

	_, err = quickimport.New(append(opts, quickimport.WithRootCAs(pool), quickimport.WithTransport(http.DefaultTransport))...)
	require.ErrorContains(t, err, "WithRootCAs")
}
