package uploader_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

// TestCopyFailures: whatever a store answers to a copy that it cannot make, the
// zeros are sent, after few attempts.
func TestCopyFailures(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status int
		code   string
	}{{411, "MissingContentLength"}, {416, "InvalidRange"}, {409, "Conflict"}, {500, "InternalError"}, {403, "SignatureDoesNotMatch"}, {0, "reset"}} {
		t.Run(tc.code, func(t *testing.T) {
			t.Parallel()
			f, s := newFake(t)
			var copies atomic.Int64
			f.hook = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Header.Get("X-Amz-Copy-Source") == "" {
					return false
				}
				copies.Add(1)
				if tc.status == 0 {
					panic(http.ErrAbortHandler)
				}
				f.fail(w, r, tc.status, tc.code)
				return true
			}
			src := &sparse{data: noise(1, 100), size: 4 * smallPart}
			res, err := s.small(t, uploader.WithConcurrency(1)).UploadReaderAt(t.Context(), "images", "k", src, src.size)
			require.NoError(t, err)
			assert.Zero(t, res.CopiedParts)
			assert.LessOrEqual(t, copies.Load(), int64(3))
			assert.True(t, bytes.Equal(src.bytes(), f.objects["k"]))
			assert.Len(t, f.objects, 1)
		})
	}
	assert.Equal(t, "a%2Bb/c%20d%3De", uploader.EscapePath("a+b/c d=e"))
}

// TestZeroVersion: in a bucket with versions the zero object goes for good.
func TestZeroVersion(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	f.version = "v-7"
	src := &sparse{data: noise(1, 100), size: 3 * smallPart}
	_, err := s.small(t).UploadReaderAt(t.Context(), "images", "k", src, src.size)
	require.NoError(t, err)
	for _, r := range f.reqs {
		if r.Method == http.MethodDelete {
			assert.Equal(t, "v-7", r.URL.Query().Get("versionId"))
		}
	}
}

// blockingReaderAt blocks for ever after a part.
type blockingReaderAt struct{ let chan struct{} }

func (b blockingReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= smallPart {
		<-b.let
	}
	return len(p), nil
}

// TestStalledSource: neither cancellation nor a failed part waits for a source
// that gives nothing more.
func TestStalledSource(t *testing.T) {
	t.Parallel()
	left := errors.New("the user left")
	for _, kind := range []string{"stream", "readerat", "failed part"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f, s := newFake(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			f.hook = func(w http.ResponseWriter, r *http.Request) bool {
				if !r.URL.Query().Has("partNumber") {
					return false
				}
				if kind == "failed part" {
					f.fail(w, r, 403, "AccessDenied")
				} else {
					cancel(left)
				}
				return kind == "failed part"
			}
			done := make(chan error, 1)
			u := s.small(t)
			pr, pw := io.Pipe()
			t.Cleanup(func() { _ = pw.Close() })
			let := make(chan struct{})
			t.Cleanup(func() { close(let) })
			go func() {
				if kind == "readerat" {
					_, err := u.UploadReaderAt(ctx, "images", "k", plain{blockingReaderAt{let}}, 3*smallPart)
					done <- err
					return
				}
				go func() { _, _ = pw.Write(noise(1, smallPart)); _, _ = pw.Write([]byte("x")) }()
				_, err := u.UploadStream(ctx, "images", "k", pr, 3*smallPart)
				done <- err
			}()
			select {
			case err := <-done:
				if kind == "failed part" {
					require.ErrorIs(t, err, uploader.ErrAccessDenied)
				} else {
					require.ErrorIs(t, err, left)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("Upload waits for its source")
			}
		})
	}
}

// TestReadsEnd: reads of an object end with the context of its opening, whatever
// the server sends.
func TestReadsEnd(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"x"`)
		w.Header().Set("Content-Length", "1000")
		if r.Method == http.MethodHead {
			return
		}
		w.Header().Set("Content-Range", "bytes 0-999/1000")
		w.WriteHeader(206)
		_, _ = w.Write([]byte("a"))
		_ = http.NewResponseController(w).Flush()
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(srv.Close)
	o, err := site{endpoint: srv.URL, region: "r", ak: "AK", sk: "SK"}.client(t).OpenObject(ctx, "images", "k")
	require.NoError(t, err)
	_, err = o.ReadAt(make([]byte, 1000), 0)
	require.ErrorIs(t, err, context.Canceled)
	require.NoError(t, o.Close())
}

// TestRotatedKeys: a bare 400 or 403 on HEAD makes the provider be asked again.
func TestRotatedKeys(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403} {
		f, s := newFake(t)
		f.objects["k"] = []byte("x")
		f.refuse = func(r *http.Request) (int, string) {
			if strings.Contains(r.Header.Get("Authorization"), "AK1/") {
				return status, ""
			}
			return 0, ""
		}
		var asked atomic.Int64
		c := s.client(t, uploader.WithCredentials(func(context.Context) (uploader.Credentials, error) {
			return uploader.Credentials{AccessKey: fmt.Sprintf("AK%d", asked.Add(1)), SecretKey: "SK"}, nil
		}))
		_, err := c.HeadObject(t.Context(), "images", "k")
		require.NoError(t, err)
		assert.EqualValues(t, 2, asked.Load())
	}
}

// TestHopeless: what no retry cures fails at once, with a code.
func TestHopeless(t *testing.T) {
	t.Parallel()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><title>Log in</title></html>")
	}))
	t.Cleanup(page.Close)
	for url, code := range map[string]string{page.URL: "html-page", strings.Replace(page.URL, "http:", "https:", 1): "not-tls", "http://no-such-host.invalid": "unknown-host"} {
		retries := 0
		ctx := uploader.ObserveRetries(t.Context(), func(uploader.Retry) { retries++ })
		_, err := site{endpoint: url, region: "r", ak: "AK", sk: "SK"}.client(t).PutObject(ctx, "images", "k", []byte("x"))
		var p *uploader.PermanentError
		if code == "unknown-host" && !errors.As(err, &p) {
			continue // a resolver that does not answer
		}
		require.ErrorAs(t, err, &p, code)
		assert.EqualValues(t, code, p.Code)
		assert.LessOrEqual(t, retries, 1)
	}
}

// TestEchoedSecrets: a server that returns what it was sent does not get a
// secret into our errors.
func TestEchoedSecrets(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Request-Id", r.Header.Get("X-Amz-Security-Token"))
		w.WriteHeader(400)
		_, _ = fmt.Fprintf(w, "<Error><Code>%[1]s</Code><Message>%[2]s%[1]s</Message></Error>", r.Header.Get("X-Amz-Security-Token"), strings.Repeat("x", 290))
	}))
	t.Cleanup(srv.Close)
	c, err := uploader.NewClient(uploader.WithEndpoint(srv.URL), uploader.WithRegion("r"), uploader.WithStaticCredentials("AK", "SK", "very-secret-token"))
	require.NoError(t, err)
	_, err = c.PutObject(t.Context(), "images", "k", []byte("x"))
	require.Error(t, err)
	assert.NotContains(t, err.Error(), "very-s")
	assert.NotContains(t, fmt.Sprintf("%+v", err), "very-s")
}

// TestConnections: OBS is spoken to over HTTP/1.1 with a connection per part.
func TestConnections(t *testing.T) {
	t.Parallel()
	f := &fakeStore{objects: map[string][]byte{}, parts: map[int][]byte{}, meta: map[string]http.Header{}, sse: "aws:kms"}
	const parts = 6
	var mu sync.Mutex // guards conns
	conns := map[string]bool{}
	arrived := make(chan struct{}, parts)
	all := make(chan struct{})
	f.hook = func(_ http.ResponseWriter, r *http.Request) bool {
		assert.Equal(t, 1, r.ProtoMajor)
		if r.URL.Query().Has("partNumber") {
			mu.Lock()
			conns[r.RemoteAddr] = true
			mu.Unlock()
			if arrived <- struct{}{}; len(arrived) == parts {
				close(all)
			}
			<-all // until every part is under way
		}
		return false
	}
	srv := httptest.NewUnstartedServer(f)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	c := site{endpoint: srv.URL, region: "r", ak: "AK", sk: "SK"}.client(t, uploader.WithRootCAs(pool))
	u, err := uploader.New(c, uploader.WithConcurrency(parts))
	require.NoError(t, err)
	_, err = put(t.Context(), u, noise(1, parts*smallPart))
	require.NoError(t, err)
	assert.Len(t, conns, parts)
}

// TestLockHolder: only a lock that is taken means "in use", and then it is said
// by whom.
func TestLockHolder(t *testing.T) {
	t.Parallel()
	st, _ := fileStore(t)
	unlock, err := st.Lock(t.Context(), "ab")
	require.NoError(t, err)
	_, err = st.Lock(t.Context(), "ab")
	require.ErrorIs(t, err, uploader.ErrLocked)
	var locked *uploader.LockedError
	require.ErrorAs(t, err, &locked)
	assert.Equal(t, os.Getpid(), locked.PID)
	assert.NotEmpty(t, locked.Host)
	require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	require.NoError(t, unlock())
	assert.False(t, uploader.LockTaken(syscall.EIO))
	assert.True(t, uploader.LocksMissing(syscall.ENOSYS))
}

// TestSharedLimits: uploads that share a limiter have that many parts under way
// together.
func TestSharedLimits(t *testing.T) {
	t.Parallel()
	l, err := uploader.NewLimiter(uploader.Limits{Parts: 2, BufferedBytes: 2 * smallPart})
	require.NoError(t, err)
	var now, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 3 {
		f, s := newFake(t)
		f.hook = func(_ http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Has("partNumber") {
				n := now.Add(1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				_, _ = r.Body.Read(nil)
				now.Add(-1)
			}
			return false
		}
		u := s.small(t, uploader.WithLimiter(l))
		data := noise(uint64(i), 4*smallPart)
		wg.Go(func() {
			var err error
			if i == 0 {
				_, err = put(t.Context(), u, data)
			} else {
				_, err = u.UploadStream(t.Context(), "images", "k", bytes.NewReader(data), int64(len(data)))
			}
			assert.NoError(t, err)
			assert.True(t, bytes.Equal(data, f.objects["k"]))
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, most.Load(), int64(2))
}
