package cloud_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/cloud"
)

func TestCredentialsShowNoSecret(t *testing.T) {
	t.Parallel()
	for _, c := range []cloud.Credentials{
		{AccessKey: "AK", SecretKey: "hidden", SecurityToken: "hidden"}, {Token: "hidden"}, {SecretKey: "hidden"}, {},
	} {
		var out bytes.Buffer
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "c", c, "p", &c, "in", struct{ C *cloud.Credentials }{&c})
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "c", c, "p", &c)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb, c)
			fmt.Fprintf(&out, verb, &c)
			fmt.Fprintf(&out, verb, struct{ C cloud.Credentials }{c})
		}
		require.NoError(t, json.NewEncoder(&out).Encode(map[string]any{"c": c}))
		assert.NotContains(t, out.String(), "hidden")
		assert.NotContains(t, out.String(), "68696464656e")
	}
}

func TestRedact(t *testing.T) {
	t.Parallel()
	c := cloud.Credentials{AccessKey: "AK", SecretKey: `a+b/c"d&e`, SecurityToken: "tok en", Token: "third"}
	text := `AK a+b/c"d&e a%2Bb%2Fc%22d%26e a+b/c&#34;d&amp;e a+b/c\"d\u0026e tok en tok+en tok%20en third`
	got := c.Redact(text)
	assert.Contains(t, got, "AK ")
	for _, secret := range []string{"a+b", "a%2Bb", "tok", "third"} {
		assert.NotContains(t, got, secret)
	}
}

// provider counts how often it is asked.
type provider struct {
	asked atomic.Int32
	next  func(n int) (cloud.Credentials, error)
}

func (p *provider) Credentials(context.Context) (cloud.Credentials, error) {
	return p.next(int(p.asked.Add(1)))
}

func TestCache(t *testing.T) {
	t.Parallel()
	boom := errors.New("metadata service is down")
	synctest.Test(t, func(t *testing.T) {
		var fail bool
		p := &provider{next: func(n int) (cloud.Credentials, error) {
			if fail {
				return cloud.Credentials{}, boom
			}
			return cloud.Credentials{AccessKey: fmt.Sprint("AK", n), SecretKey: "SK", Expires: time.Now().Add(time.Hour)}, nil
		}}
		c := cloud.NewCache(p)
		get := func() string {
			creds, err := c.Credentials(t.Context())
			require.NoError(t, err)
			return creds.AccessKey
		}
		assert.Equal(t, "AK1", get())
		time.Sleep(55*time.Minute - time.Second)
		assert.Equal(t, "AK1", get(), "five minutes and a second are left")
		fail = true
		time.Sleep(2 * time.Second)
		assert.Equal(t, "AK1", get(), "valid although the provider fails")
		assert.Equal(t, "AK1", get())
		assert.EqualValues(t, 2, p.asked.Load(), "a failing provider is not asked for every request")
		time.Sleep(5 * time.Second)
		fail = false
		assert.Equal(t, "AK3", get(), "asked again")
		fail = true
		time.Sleep(2 * time.Hour)
		_, err := c.Credentials(t.Context())
		require.ErrorIs(t, err, boom)
		var perr *cloud.ProviderError
		require.ErrorAs(t, err, &perr)
		assert.True(t, perr.Temporary, "it worked before")
		fail = false
		assert.Equal(t, "AK5", get())
	})
	fresh := cloud.NewCache(&provider{next: func(int) (cloud.Credentials, error) { return cloud.Credentials{}, boom }})
	_, err := fresh.Credentials(t.Context())
	var perr *cloud.ProviderError
	require.ErrorAs(t, err, &perr)
	assert.False(t, perr.Temporary)
}

func TestCacheRefused(t *testing.T) {
	t.Parallel()
	p := &provider{next: func(n int) (cloud.Credentials, error) {
		return cloud.Credentials{AccessKey: fmt.Sprint("AK", min(n, 2)), SecretKey: "SK"}, nil
	}}
	c := cloud.NewCache(p)
	first, err := c.Credentials(t.Context())
	require.NoError(t, err)
	assert.True(t, c.Refused(t.Context(), first))
	assert.True(t, c.Refused(t.Context(), first), "another request with the old keys: replaced already")
	assert.EqualValues(t, 2, p.asked.Load())
	second, err := c.Credentials(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "AK2", second.AccessKey)
	assert.False(t, c.Refused(t.Context(), second), "asked, and there are no others")
	assert.EqualValues(t, 3, p.asked.Load())
}

func TestCachePrintsNoSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cloud.NewCache(cloud.Static(cloud.Credentials{AccessKey: "AK", SecretKey: "hidden"}))
		_, err := c.Credentials(t.Context())
		require.NoError(t, err)
		synctest.Wait()
		assert.NotContains(t, fmt.Sprintf("%+v %#v", c, c), "hidden")
	})
}

// TestCacheHangs: a provider that hangs holds nobody whose context ends, and is
// asked once for all who wait.
func TestCacheHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		p := &provider{next: func(n int) (cloud.Credentials, error) {
			<-let
			return cloud.Credentials{AccessKey: "AK", SecretKey: "SK"}, nil
		}}
		c := cloud.NewCache(p)
		done := make(chan error)
		ctx, cancel := context.WithCancel(t.Context())
		for _, ctx := range []context.Context{ctx, t.Context(), t.Context()} {
			go func() {
				_, err := c.Credentials(ctx)
				done <- err
			}()
		}
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		close(let)
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		assert.EqualValues(t, 1, p.asked.Load())
	})
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	run := func(ctx context.Context, p cloud.Policy, v cloud.Verdict, try func(n int) error) (int, []cloud.Retry, error) {
		var seen []cloud.Retry
		n, err := p.Do(cloud.Observe(ctx, func(r cloud.Retry) { seen = append(seen, r) }), cloud.Operation{
			Op: "Get", Part: 3, Try: func(_ context.Context, n int) error { return try(n) }, Judge: func(error, int) cloud.Verdict { return v },
		})
		return n, seen, err
	}
	always := func(int) error { return boom }
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		n, seen, err := run(t.Context(), cloud.Policy{}, cloud.Verdict{Again: true}, always)
		require.ErrorIs(t, err, boom)
		assert.InDelta(t, 10*time.Minute, time.Since(started), float64(21*time.Second), "the default budget")
		assert.Len(t, seen, n-1)
		assert.Equal(t, cloud.Retry{Op: "Get", Part: 3, Attempt: 1, Wait: seen[0].Wait, Left: 10*time.Minute - seen[0].Wait, Reason: boom}, seen[0])
		for _, r := range seen {
			assert.LessOrEqual(t, r.Wait, 20*time.Second)
			assert.GreaterOrEqual(t, r.Wait, 150*time.Millisecond)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		n, _, err := run(t.Context(), cloud.Policy{Attempts: 4}, cloud.Verdict{Again: true}, always)
		require.ErrorIs(t, err, boom)
		assert.Equal(t, 4, n)
	})
	synctest.Test(t, func(t *testing.T) {
		n, seen, err := run(t.Context(), cloud.Policy{Budget: time.Minute}, cloud.Verdict{Again: true, After: time.Hour}, always)
		require.ErrorIs(t, err, boom)
		assert.Equal(t, 1, n, "longer than the budget")
		assert.Empty(t, seen)
	})
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		_, _, err := run(t.Context(), cloud.Policy{Budget: cloud.NoLimit}, cloud.Verdict{Again: true, After: time.Hour}, func(n int) error {
			if n < 4 {
				return boom
			}
			return nil
		})
		require.NoError(t, err)
		assert.Equal(t, 3*time.Hour, time.Since(started))
	})
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the user left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(90*time.Second, func() { cancel(cause) })
		started := time.Now()
		_, _, err := run(ctx, cloud.Policy{}, cloud.Verdict{Again: true}, always)
		require.ErrorIs(t, err, cause)
		assert.Equal(t, 90*time.Second, time.Since(started))
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	const now = "Wed, 21 Oct 2015 07:28:00 GMT" // far from this machine's time
	for v, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, " 120 ": 2 * time.Minute, "-5": 0, "soon": 0, "1.5": 0, "99999999999999999999": 0,
		"Wed, 21 Oct 2015 07:29:30 GMT": 90 * time.Second, "Wed, 21 Oct 2015 07:00:00 GMT": 0,
	} {
		assert.Equal(t, want, cloud.RetryAfter(http.Header{"Retry-After": {v}, "Date": {now}}), v)
	}
	soon := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	assert.InDelta(t, time.Hour, cloud.RetryAfter(http.Header{"Retry-After": {soon}}), float64(time.Minute))
}

func TestClock(t *testing.T) {
	t.Parallel()
	var c cloud.Clock
	c.Note(http.Header{"Date": {time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)}})
	assert.InDelta(t, time.Hour, time.Since(c.Now()), float64(3*time.Second))
	c.Note(http.Header{"Date": {"nonsense"}})
	assert.NotZero(t, c.Ahead())
	c.Note(http.Header{"Date": {time.Now().UTC().Format(http.TimeFormat)}})
	assert.Zero(t, c.Ahead(), "no difference but that of the rounding")
}

func get(t *testing.T, url string, cfg cloud.TransportConfig) (*http.Response, error) {
	t.Helper()
	tr := cloud.NewTransport(cfg)
	t.Cleanup(tr.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	return (&cloud.Client{Transport: tr}).Do(req)
}

func TestPermanent(t *testing.T) {
	t.Parallel()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
	secure := httptest.NewUnstartedServer(ok)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	open := httptest.NewServer(ok)
	t.Cleanup(open.Close)
	ours := x509.NewCertPool()
	ours.AddCert(secure.Certificate())
	_, port, err := net.SplitHostPort(secure.Listener.Addr().String())
	require.NoError(t, err)
	for _, tc := range []struct {
		url  string
		cfg  cloud.TransportConfig
		want cloud.Code
	}{
		{secure.URL, cloud.TransportConfig{}, cloud.CodeUnknownAuthority},
		{"https://localhost:" + port, cloud.TransportConfig{RootCAs: ours}, cloud.CodeInvalidCertificate},
		{strings.Replace(open.URL, "http:", "https:", 1), cloud.TransportConfig{}, cloud.CodeNotTLS},
		{alertServer(t), cloud.TransportConfig{}, cloud.CodeTLSPort},
	} {
		_, err := get(t, tc.url, tc.cfg)
		var p *cloud.PermanentError
		require.ErrorAs(t, err, &p, tc.want)
		assert.Equal(t, tc.want, p.Code)
		assert.NotEmpty(t, p.Host)
	}
	resp, err := get(t, secure.URL, cloud.TransportConfig{RootCAs: ours})
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())

	unknown := fmt.Errorf("dial: %w", &net.DNSError{Err: "no such host", Name: "h", IsNotFound: true})
	assert.Nil(t, cloud.Permanent(unknown, 1))
	assert.Equal(t, cloud.CodeUnknownHost, cloud.Permanent(unknown, 2).Code)
	assert.Nil(t, cloud.Permanent(io.ErrUnexpectedEOF, 9))
}

// alertServer answers as a port that speaks TLS and is asked for http.
func alertServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = c.Write([]byte("\x15\x03\x01\x00\x02\x02\x16"))
			_ = c.Close()
		}
	}()
	return "http://" + l.Addr().String()
}

func TestPage(t *testing.T) {
	t.Parallel()
	const nginx = "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>"
	req := httptest.NewRequest(http.MethodGet, "http://h/", nil)
	for _, tc := range []struct {
		status     int
		kind, body string
		want       cloud.Code
	}{
		{200, "text/html", "<!DOCTYPE html><title>Log in</title>", cloud.CodeHTMLPage},
		{200, "", "\n <HTML><body>", cloud.CodeHTMLPage},
		{403, "text/html; charset=utf-8", "<p>blocked</p>", cloud.CodeHTMLPage},
		{502, "text/html", "<html>Bad Gateway", ""},
		{429, "text/html", "<html>slow down", ""},
		{200, "text/html", "<?xml version='1.0'?><R/>", ""},
		{200, "text/html", `{"images":[]}`, ""},
		{200, "text/html", "", ""},
		{404, "application/xml", "<Error/>", ""},
		{400, "text/html", nginx, cloud.CodeTLSPort},
		{400, "text/plain", "Client sent an HTTP request to an HTTPS server.\n", cloud.CodeTLSPort},
		{407, "", "", cloud.CodeProxyAuth},
	} {
		p := cloud.Page(&http.Response{StatusCode: tc.status, Header: http.Header{"Content-Type": {tc.kind}}, Request: req}, []byte(tc.body))
		if tc.want == "" {
			assert.Nil(t, p, "%+v", tc)
			continue
		}
		require.NotNil(t, p, "%+v", tc)
		assert.Equal(t, tc.want, p.Code)
		assert.Equal(t, "h", p.Host)
	}
	assert.Equal(t, "A & B", cloud.HTMLTitle([]byte("<html><title>\nA &amp;\n B</title>")))
}

func TestClip(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "a b c", cloud.Clip(" a\n\x1b b\x00c\u0085 "))
	long := cloud.Clip(strings.Repeat("ä", 500))
	assert.Equal(t, strings.Repeat("ä", 150)+"...", long)
	assert.Equal(t, strings.Repeat("世", 100), cloud.Clip(strings.Repeat("世", 100)))
}

// TestStall: silence, and a byte now and then, end an attempt; a slow transfer
// that moves does not, nor does a source that has nothing to send.
func TestStall(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		every   time.Duration // between bytes of the answer, 0: none
		bytes   int
		patient bool
		source  time.Duration // the body's source is silent for that long
		stalls  bool
	}{
		"silent":               {stalls: true},
		"one byte per second":  {every: time.Second, bytes: 1, stalls: true},
		"ten bytes per second": {every: 100 * time.Millisecond, bytes: 1, stalls: true},
		"200 bytes per second": {every: time.Second, bytes: 200},
		"signs of life":        {every: 50 * time.Second, bytes: 1, patient: true},
		"slow source":          {source: time.Hour, every: time.Second, bytes: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pr, pw := io.Pipe()
				server := roundTripper(func(req *http.Request) (*http.Response, error) {
					if req.Body != nil {
						_, _ = io.Copy(io.Discard, req.Body)
					}
					context.AfterFunc(req.Context(), func() { _ = pw.CloseWithError(req.Context().Err()) })
					go func() {
						for range 600 {
							if tc.every == 0 {
								<-req.Context().Done()
								return
							}
							time.Sleep(tc.every)
							if _, err := pw.Write(make([]byte, tc.bytes)); err != nil {
								return
							}
						}
						_ = pw.Close()
					}()
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: pr}, nil
				})
				ctx := t.Context()
				if tc.patient {
					ctx = cloud.Patient(ctx, time.Minute)
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://h/", &slowSource{wait: tc.source})
				require.NoError(t, err)
				resp, err := (&cloud.Client{Transport: server, Stall: 30 * time.Second}).Do(req)
				require.NoError(t, err)
				_, err = io.Copy(io.Discard, resp.Body)
				if tc.stalls {
					require.ErrorIs(t, err, cloud.ErrStalled)
				} else {
					require.NoError(t, err)
				}
				require.NoError(t, resp.Body.Close())
				_ = pr.Close()
				time.Sleep(time.Minute) // the server notices
			})
		})
	}
}

type slowSource struct {
	wait time.Duration
	done bool
}

func (s *slowSource) Read(p []byte) (int, error) {
	if s.done {
		return 0, io.EOF
	}
	s.done = true
	time.Sleep(s.wait)
	return len(p), nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestBufferingProxy: once a body was sent, the answer may take as long as a
// slow store needs for it, and no longer.
func TestBufferingProxy(t *testing.T) {
	t.Parallel()
	const size = 4 << 20 // 64 s at 64 KiB/s
	for wait, stalls := range map[time.Duration]bool{90 * time.Second: false, 100 * time.Second: true} {
		synctest.Test(t, func(t *testing.T) {
			proxy := roundTripper(func(req *http.Request) (*http.Response, error) {
				_, _ = io.Copy(io.Discard, req.Body)
				select {
				case <-time.After(wait):
					return &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}, nil
				case <-req.Context().Done():
					return nil, req.Context().Err()
				}
			})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://h/", bytes.NewReader(make([]byte, size)))
			require.NoError(t, err)
			resp, err := (&cloud.Client{Transport: proxy, Stall: 30 * time.Second}).Do(req)
			if stalls {
				require.ErrorIs(t, err, cloud.ErrStalled)
				return
			}
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		})
	}
}

// TestQuietLog: bytes that a server sends without being asked do not reach the
// application's log.
func TestQuietLog(t *testing.T) {
	// Not parallel: it sets the standard logger's output.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX-Amz-Security-Token: hidden")
		}
	}()
	var out lockedBuffer
	old := log.Writer()
	log.SetOutput(&out)
	t.Cleanup(func() { log.SetOutput(old) })
	log.Print("the application's own line")
	resp, err := get(t, "http://"+l.Addr().String(), cloud.TransportConfig{})
	require.NoError(t, err)
	_, err = io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "Unsolicited") }, 10*time.Second, time.Millisecond)
	log.Print("another line")
	assert.Contains(t, out.String(), "own line\n")
	assert.Contains(t, out.String(), "another line\n")
	assert.NotContains(t, out.String(), "hidden")
}

func TestTransportIsHTTP1(t *testing.T) {
	t.Parallel()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	resp, err := get(t, srv.URL, cloud.TransportConfig{RootCAs: pool})
	require.NoError(t, err)
	got, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, "HTTP/1.1", string(got))
}

func TestLimiter(t *testing.T) {
	t.Parallel()
	for _, bad := range []cloud.Limits{{BytesPerSecond: 5}, {BytesPerSecond: -1}, {Parts: -1}, {BufferedBytes: -1}} {
		_, err := cloud.NewLimiter(bad)
		require.Error(t, err)
	}
	var none *cloud.Limiter
	require.NoError(t, none.Wait(t.Context(), 1<<30))
	require.NoError(t, none.Reserve(t.Context(), 1<<40))
	none.Release(1 << 40)
	none.Recycle(none.Buffer(5))
	synctest.Test(t, func(t *testing.T) {
		l, err := cloud.NewLimiter(cloud.Limits{BytesPerSecond: 10000, Parts: 2, BufferedBytes: 100})
		require.NoError(t, err)
		started := time.Now()
		require.NoError(t, l.Wait(t.Context(), 51000))
		assert.InDelta(t, 5*time.Second, time.Since(started), float64(200*time.Millisecond))

		end, err := l.StartPart(t.Context())
		require.NoError(t, err)
		_, err = l.StartPart(t.Context())
		require.NoError(t, err)
		cause := errors.New("left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		_, err = l.StartPart(ctx)
		require.ErrorIs(t, err, cause)
		end()
		_, err = l.StartPart(t.Context())
		require.NoError(t, err)

		require.NoError(t, l.Reserve(t.Context(), 1000), "larger than the limit: all of it")
		require.ErrorIs(t, l.Reserve(ctx, 1), cause)
		l.Release(1000)
		require.NoError(t, l.Reserve(t.Context(), 40))
		b := l.Buffer(40)
		l.Recycle(b)
		assert.Same(t, &b[0], &l.Buffer(30)[0], "used again")
	})
}

type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestFirstContact(t *testing.T) {
	t.Parallel()
	refused := fmt.Errorf("dial: %w", syscall.ECONNREFUSED)
	var c cloud.Clock
	assert.Equal(t, 30*time.Second, cloud.Policy{}.FirstContact(refused, &c))
	assert.Zero(t, cloud.Policy{Budget: time.Hour}.FirstContact(refused, &c), "as was asked for")
	assert.Zero(t, cloud.Policy{}.FirstContact(io.EOF, &c))
	c.Note(http.Header{})
	assert.Zero(t, cloud.Policy{}.FirstContact(refused, &c), "it was there before")
}
