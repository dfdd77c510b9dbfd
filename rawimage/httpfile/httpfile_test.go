package httpfile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/httpfile"
)

var modified = time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)

func content(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{9}).Read(p)
	return p
}

// serve answers as net/http's file server does, with an ETag.
func serve(data []byte, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		http.ServeContent(w, r, "", modified, bytes.NewReader(data))
	}
}

func start(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL + "/images/disk.qcow2"
}

func open(t *testing.T, u string, opts ...httpfile.Option) *httpfile.File {
	t.Helper()
	f, err := httpfile.Open(context.Background(), u, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func requireContent(t *testing.T, f *httpfile.File, data []byte) {
	t.Helper()
	size, known := f.Size()
	require.True(t, known)
	require.EqualValues(t, len(data), size)
	got := make([]byte, len(data))
	_, err := f.ReadAt(got, 0)
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))
	for off := int64(100); off < size; off += size / 7 {
		p := make([]byte, 1000)
		n, err := f.ReadAt(p, off)
		require.True(t, err == nil || err == io.EOF)
		require.True(t, bytes.Equal(data[off:off+int64(n)], p[:n]))
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	data := content(5<<20 + 11)
	for _, etag := range []string{`"abc"`, `W/"abc"`, ""} {
		u := start(t, serve(data, etag))
		f := open(t, u)
		require.True(t, f.Ranges())
		require.Equal(t, "disk.qcow2", f.Name())
		requireContent(t, f, data)
		require.NoError(t, f.CheckUnchanged(context.Background()))
		require.NotEmpty(t, f.Identity())
		require.Equal(t, f.Identity(), open(t, u).Identity())
		require.NotEqual(t, f.Identity(), open(t, u+"?v=2").Identity())
	}
}

// Whatever breaks an attempt, the file is read right, and from where it broke off.
func TestRetries(t *testing.T) {
	t.Parallel()
	data := content(3 << 20)
	for name, fault := range map[string]http.HandlerFunc{
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"503 with a page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "<html><title>Busy</title></html>")
		},
		"429":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTooManyRequests) },
		"408":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestTimeout) },
		"cuts": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"cuts the body": func(w http.ResponseWriter, r *http.Request) {
			serve(data, `"a"`)(&cutter{ResponseWriter: w, left: 1000}, r)
		},
		"stalls": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			u := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1)%3 == 2 {
					fault(w, r)
					return
				}
				serve(data, `"a"`)(w, r)
			}))
			requireContent(t, open(t, u, httpfile.WithStallTimeout(50*time.Millisecond)), data)
		})
	}
}

// cutter breaks the connection within a body.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

// What a server gets wrong has a type, and names the offset.
func TestWrongAnswers(t *testing.T) {
	t.Parallel()
	data := content(3 << 20)
	honest := serve(data, `"a"`)
	rewrite := func(change func(h http.Header)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			honest(rec, r)
			change(rec.Header())
			for k, v := range rec.Header() {
				w.Header()[k] = v
			}
			w.WriteHeader(rec.Code)
			_, _ = w.Write(rec.Body.Bytes())
		}
	}
	for name, c := range map[string]struct {
		later http.HandlerFunc // for all requests but the first
		is    error
	}{
		"another ETag":        {serve(data, `"b"`), httpfile.ErrChanged},
		"ETag ignored":        {rewrite(func(h http.Header) { h.Set("ETag", `"b"`) }), httpfile.ErrChanged},
		"no ETag, other time": {rewrite(func(h http.Header) { h.Del("ETag"); h.Set("Last-Modified", "Sat, 02 May 2026 00:00:00 GMT") }), httpfile.ErrChanged},
		"another size": {rewrite(func(h http.Header) {
			h.Set("Content-Range", strings.Replace(h.Get("Content-Range"), "/3145728", "/3145729", 1))
		}), httpfile.ErrChanged},
		"shorter":         {serve(data[:1000], `"a"`), httpfile.ErrChanged},
		"another range":   {rewrite(func(h http.Header) { h.Set("Content-Range", "bytes 5-9/3145728") }), httpfile.ErrAnswer},
		"no range":        {rewrite(func(h http.Header) { h.Del("Content-Range") }), httpfile.ErrAnswer},
		"garbage range":   {rewrite(func(h http.Header) { h.Set("Content-Range", "bytes a-b/c") }), httpfile.ErrAnswer},
		"unknown total":   {rewrite(func(h http.Header) { h.Set("Content-Range", "bytes 2000000-2000009/*") }), httpfile.ErrAnswer},
		"huge total":      {rewrite(func(h http.Header) { h.Set("Content-Range", "bytes 0-9/99999999999999999999") }), httpfile.ErrAnswer},
		"encoded":         {rewrite(func(h http.Header) { h.Set("Content-Encoding", "gzip") }), httpfile.ErrEncoded},
		"ranges given up": {func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); honest(w, r) }, httpfile.ErrNoRanges},
		"ranges given up, new": {func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Range")
			r.Header.Del("If-Match")
			serve(data, `"b"`)(w, r)
		}, httpfile.ErrChanged},
		"redirect loop":       {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, httpfile.ErrRedirect},
		"redirect to nothing": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusFound) }, httpfile.ErrRedirect},
		"redirect to a file": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		}, httpfile.ErrRedirect},
		"redirect to no host": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://")
			w.WriteHeader(http.StatusFound)
		}, httpfile.ErrRedirect},
		"redirect to garbage": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "http://%zz")
			w.WriteHeader(http.StatusFound)
		}, httpfile.ErrRedirect},
		"precondition":          {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPreconditionFailed) }, httpfile.ErrChanged},
		"range not satisfiable": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusRequestedRangeNotSatisfiable) }, httpfile.ErrChanged},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			f := open(t, start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if n.Add(1) == 1 {
					honest(w, r)
					return
				}
				c.later(w, r)
			})))
			_, err := f.ReadAt(make([]byte, 100_000), 2_000_000)
			require.ErrorIs(t, err, c.is)
			var failed *httpfile.Error
			require.ErrorAs(t, err, &failed)
			require.EqualValues(t, 2_000_000, failed.Offset)
			require.LessOrEqual(t, n.Load(), int64(13), "nothing that no retry cures is repeated")
		})
	}
}

func TestOpenFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		h  http.HandlerFunc
		is error
	}{
		"empty":           {serve(nil, `"a"`), httpfile.ErrEmpty},
		"empty, no range": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "0") }, httpfile.ErrEmpty},
		"encoded":         {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "gzip") }, httpfile.ErrEncoded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := httpfile.Open(context.Background(), start(t, c.h))
			require.ErrorIs(t, err, c.is)
		})
	}
	_, err := httpfile.Open(context.Background(), start(t, http.NotFoundHandler()))
	var status *httpfile.StatusError
	require.ErrorAs(t, err, &status)
	require.Equal(t, http.StatusNotFound, status.StatusCode)
	for _, u := range []string{"", "ftp://host/x", "http://", "http://%zz", "host/x"} {
		_, err := httpfile.Open(context.Background(), u)
		require.ErrorIs(t, err, httpfile.ErrURL, u)
	}
	_, err = httpfile.Open(context.Background(), start(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })), httpfile.WithRetryTime(time.Millisecond))
	require.ErrorAs(t, err, &status)
}

// Without ranges the file is a stream.
func TestStream(t *testing.T) {
	t.Parallel()
	data := content(300_000)
	plain := func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); serve(data, `"a"`)(w, r) }
	chunked := func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(data[:1000])
		w.(http.Flusher).Flush()
		_, _ = w.Write(data[1000:])
	}
	for _, h := range []http.HandlerFunc{plain, chunked} {
		f := open(t, start(t, h))
		require.False(t, f.Ranges())
		_, err := f.ReadAt(make([]byte, 10), 0)
		require.ErrorIs(t, err, httpfile.ErrNoRanges)
		r, err := f.Stream(context.Background())
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		require.NoError(t, r.Close())
	}
	cut := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			w = &cutter{ResponseWriter: w, left: 1000}
		}
		plain(w, r)
	}
	r, err := open(t, start(t, http.HandlerFunc(cut))).Stream(context.Background())
	require.NoError(t, err)
	_, err = io.ReadAll(r)
	require.ErrorIs(t, err, httpfile.ErrTruncated)
}

// Credentials go to the host they are for, redirects are followed once, and an
// expired one is asked for again.
func TestRedirectsAndCredentials(t *testing.T) {
	t.Parallel()
	data := content(3 << 20)
	var mu sync.Mutex
	var leaked []string
	var expire atomic.Bool
	mirror := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		leaked = append(leaked, r.Header.Values("Authorization")...)
		leaked = append(leaked, r.Header.Values("X-Token")...)
		if expire.Load() && r.URL.Query().Get("sig") == "1" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		serve(data, `"a"`)(w, r)
	}))
	var asked atomic.Int64
	u, err := url.Parse(start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != "me" || password != "secret" || r.Header.Get("X-Token") != "token" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, fmt.Sprintf("%s?sig=%d", mirror, asked.Add(1)), http.StatusFound)
	})))
	require.NoError(t, err)
	u.User = url.UserPassword("me", "secret")
	f := open(t, u.String(), httpfile.WithHeader("X-Token", "token"))
	requireContent(t, f, data)
	require.EqualValues(t, 1, asked.Load())
	expire.Store(true)
	_, err = f.ReadAt(make([]byte, 100_000), 1<<20)
	require.NoError(t, err)
	require.EqualValues(t, 2, asked.Load())
	require.Empty(t, leaked)

	_, err = httpfile.Open(context.Background(), strings.Replace(u.String(), "secret", "wrong-secret", 1)+"?sig=hush")
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
	require.NotContains(t, err.Error(), "hush")
}

func TestDowngradeRefused(t *testing.T) {
	t.Parallel()
	plain := start(t, serve(content(10), `"a"`))
	s := httptest.NewTLSServer(http.RedirectHandler(plain, http.StatusFound))
	t.Cleanup(s.Close)
	_, err := httpfile.Open(context.Background(), s.URL, httpfile.WithTransport(s.Client().Transport))
	require.ErrorIs(t, err, httpfile.ErrRedirect)
	_, err = httpfile.Open(context.Background(), s.URL) // a certificate nobody knows: at once
	require.Error(t, err)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	u := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("enough")
	time.AfterFunc(time.Millisecond, func() { cancel(reason) })
	_, err := httpfile.Open(ctx, u)
	require.ErrorIs(t, err, reason)
}
