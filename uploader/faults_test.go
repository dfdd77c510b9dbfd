package uploader_test

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/uploader"
)

// long reports whether the long forms of the tests are asked for.
func long() bool { return os.Getenv("FASTIMAGE_LONG") == "1" }

// fault is what the proxy does to a request.
type fault int

const (
	fault500 fault = iota
	fault503
	faultResetBefore
	faultResetAfter
	faultTruncated
	faultStalled
	faultDamaged
	faultDrip
	faults
)

// proxy stands in front of a service and spoils some of the requests. It counts
// the content that reaches it.
type proxy struct {
	*httptest.Server
	backend string
	rate    float64
	only    func(*http.Request) bool // nil: any request
	kinds   []fault                  // nil: all
	content atomic.Int64             // bytes of PUT bodies received
	seen    [faults]atomic.Int64

	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

func newProxy(t testing.TB, s site, rate float64, kinds ...fault) (*proxy, site) {
	t.Helper()
	p := &proxy{backend: s.endpoint, rate: rate, kinds: kinds, rng: rand.New(rand.NewPCG(1, 2))}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.CloseClientConnections()
		p.Close()
	})
	s.endpoint = p.URL
	return p, s
}

// pick draws a fault, -1 for none.
func (p *proxy) pick(r *http.Request) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.only != nil && !p.only(r) || p.rng.Float64() >= p.rate {
		return -1
	}
	f := fault(p.rng.IntN(int(faults)))
	if len(p.kinds) > 0 {
		f = p.kinds[p.rng.IntN(len(p.kinds))]
	}
	if f == faultDamaged && (r.Method != http.MethodPut || r.ContentLength <= 0) {
		f = fault500
	}
	p.seen[f].Add(1)
	return f
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := p.pick(r)
	switch f {
	case fault500, fault503:
		status, code := http.StatusInternalServerError, "InternalError"
		if f == fault503 {
			status, code = http.StatusServiceUnavailable, "SlowDown"
		}
		_, _ = io.Copy(io.Discard, p.count(r))
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>try again</Message></Error>")
		}
		return
	case faultResetBefore:
		reset(w)
		return
	case faultStalled:
		_, _ = io.CopyN(io.Discard, p.count(r), 100<<10)
		// The server does not notice a client that leaves while its body is
		// unread, so the stall has an end of its own.
		select {
		case <-r.Context().Done():
		case <-time.After(2 * stallTimeout):
		}
		panic(http.ErrAbortHandler)
	}
	resp := p.forward(r, f)
	if resp == nil || f == faultResetAfter {
		reset(w)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	answer(w, r, resp, f)
}

// count counts the content of PUT requests as it comes in.
func (p *proxy) count(r *http.Request) io.Reader {
	if r.Method != http.MethodPut {
		return r.Body
	}
	return io.TeeReader(r.Body, writerFunc(func(b []byte) { p.content.Add(int64(len(b))) }))
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

func (p *proxy) forward(r *http.Request, f fault) *http.Response {
	body := p.count(r)
	if f == faultDamaged {
		body = &flip{r: body, at: r.ContentLength / 2}
	}
	if f == faultDrip {
		body = &drip{r: body}
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, p.backend+r.URL.RequestURI(), body)
	if err != nil {
		return nil
	}
	req.Header, req.Host, req.ContentLength = r.Header.Clone(), r.Host, r.ContentLength
	if r.ContentLength == 0 {
		req.Body = http.NoBody
	}
	resp, err := gatewayTransport.RoundTrip(req)
	if err != nil {
		return nil
	}
	return resp
}

var gatewayTransport = &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true}

func answer(w http.ResponseWriter, r *http.Request, resp *http.Response, f fault) {
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	if resp.ContentLength >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	data, _ := io.ReadAll(resp.Body)
	w.WriteHeader(resp.StatusCode)
	switch {
	case f == faultTruncated && len(data) > 0:
		_, _ = w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler)
	case f == faultDrip:
		for i := 0; i < len(data); i += max(1, len(data)/8) {
			_, _ = w.Write(data[i:min(len(data), i+max(1, len(data)/8))])
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	default:
		_, _ = w.Write(data)
	}
}

// reset breaks the connection without a farewell.
func reset(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// flip damages one byte.
type flip struct {
	r       io.Reader
	pos, at int64
}

func (f *flip) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if k := f.at - f.pos; k >= 0 && k < int64(n) {
		p[k] ^= 0x10
	}
	f.pos += int64(n)
	return n, err
}

// drip lets a body through slowly, but never stops.
type drip struct{ r io.Reader }

func (d *drip) Read(p []byte) (int, error) {
	if len(p) > 256<<10 {
		p = p[:256<<10]
	}
	time.Sleep(2 * time.Millisecond)
	return d.r.Read(p)
}

// stallTimeout is longer than a busy machine keeps the gateway waiting for its
// disk, and shorter than the proxy stalls.
const stallTimeout = 1500 * time.Millisecond

// TestFaults uploads through a proxy that spoils one request in twenty.
func TestFaults(t *testing.T) {
	t.Parallel()
	n := 12
	if long() {
		n = 200
	}
	s := gateway(t)
	p, bad := newProxy(t, s, 0.05)
	if !long() {
		p.rate = 0.15 // few uploads have to meet every fault
	}
	c := bad.client(t, uploader.WithStallTimeout(stallTimeout),
		uploader.WithRetries(10, 2*time.Millisecond, 50*time.Millisecond))
	u, err := uploader.New(c)
	require.NoError(t, err)
	var retries atomic.Int64
	var keys []string
	started := time.Now()
	for i := range n {
		src := &sparse{data: noise(uint64(i), 6*mib), at: 4 * mib, size: 23 * mib}
		key := s.key()
		count := uploader.WithProgress(func(p uploader.Progress) {
			if p.Retry != nil {
				retries.Add(1)
			}
		})
		var res *uploader.Result
		if i%2 == 0 {
			res, err = u.UploadReaderAt(context.Background(), s.bucket, key, src, src.size, count)
		} else {
			res, err = u.UploadStream(context.Background(), s.bucket, key, io.NewSectionReader(src, 0, src.size), 30*mib, count)
		}
		require.NoError(t, err, "upload %d", i)
		if res.CleanupErr != nil {
			require.ErrorContains(t, res.CleanupErr, "has no parts", "a lost answer left it")
		}
		require.True(t, bytes.Equal(src.bytes(), download(t, s, key)), "upload %d", i)
		keys = append(keys, key)
	}
	requireClean(t, s, "", keys...)
	assert.Positive(t, retries.Load())
	for f := range p.seen {
		t.Logf("fault %d: %d times", f, p.seen[f].Load())
	}
	t.Logf("%d uploads in %v, %d retries", n, time.Since(started).Round(time.Millisecond), retries.Load())
}

// TestDamagedNeverStored: every body is damaged on the way, with and without
// the body being part of the signature.
func TestDamagedNeverStored(t *testing.T) {
	t.Parallel()
	s := gateway(t)
	for _, unsigned := range []bool{false, true} {
		_, bad := newProxy(t, s, 1, faultDamaged)
		c := bad.client(t, uploader.WithUnsignedPayload(unsigned), uploader.WithRetries(2, time.Millisecond, time.Millisecond))
		u, err := uploader.New(c)
		require.NoError(t, err)
		key := s.key()
		_, err = c.PutObject(context.Background(), s.bucket, key, noise(1, 1000))
		require.Error(t, err)
		_, err = u.UploadReaderAt(context.Background(), s.bucket, key, bytes.NewReader(noise(1, 6*mib)), 6*mib)
		require.Error(t, err)
		requireClean(t, s, "")
	}
	px, bad := newProxy(t, s, 1, faultDamaged)
	px.only = func(r *http.Request) bool { return r.URL.Query().Has("partNumber") }
	u, err := uploader.New(bad.client(t, uploader.WithRetries(2, time.Millisecond, time.Millisecond)))
	require.NoError(t, err)
	_, err = u.UploadReaderAt(context.Background(), s.bucket, s.key(), bytes.NewReader(noise(1, 6*mib)), 6*mib)
	require.ErrorIs(t, err, uploader.ErrBadDigest)
	var e *uploader.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, 2, e.Attempts)
	assert.NotEmpty(t, e.RequestID)
	requireClean(t, s, "")
}

// TestZeroCopyRefused: a store that cannot copy gets the zeros the slow way.
func TestZeroCopyRefused(t *testing.T) {
	t.Parallel()
	s := gateway(t)
	for _, status := range []int{501, 405, 403, 400} {
		var copies atomic.Int64
		front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Amz-Copy-Source") != "" {
				copies.Add(1)
				w.WriteHeader(status)
				return
			}
			p := &proxy{backend: s.endpoint}
			p.rng = rand.New(rand.NewPCG(1, 1))
			p.ServeHTTP(w, r)
		}))
		t.Cleanup(front.Close)
		bad := s
		bad.endpoint = front.URL
		src := &sparse{data: noise(5, mib), at: 0, size: 40 * mib}
		key := s.key()
		res, err := bad.uploader(t, uploader.WithConcurrency(1)).UploadReaderAt(context.Background(), s.bucket, key, src, src.size)
		require.NoError(t, err, "status %d", status)
		assert.EqualValues(t, 1, copies.Load(), "status %d is remembered", status)
		assert.Zero(t, res.CopiedBytes)
		require.True(t, bytes.Equal(src.bytes(), download(t, s, key)))
		require.ErrorIs(t, bad.client(t).ProbeCopy(context.Background(), s.bucket, key), uploader.ErrCopyRefused)
		requireClean(t, s, key, key)
	}
	requireNoZeros(t, s)
}

// TestZeroCopyRefusalIsRemembered: a later run of the same upload does not ask
// again.
func TestZeroCopyRefusalIsRemembered(t *testing.T) {
	t.Parallel()
	f, s := newFake(t)
	var copies atomic.Int64
	f.refuse = func(r *http.Request) (int, string) {
		if r.Header.Get("X-Amz-Copy-Source") == "" {
			return 0, ""
		}
		copies.Add(1)
		return 501, "NotImplemented"
	}
	st, _ := fileStore(t)
	u := s.uploader(t, uploader.WithStore(st), uploader.WithConcurrency(1))
	src := &sparse{data: noise(1, 6*mib), at: 12 * mib, size: 33 * mib, failAt: 13 * mib}
	_, err := u.UploadReaderAt(context.Background(), "images", "k", src, src.size)
	require.ErrorIs(t, err, errFail)
	require.EqualValues(t, 1, copies.Load())
	src.failAt = 0
	res, err := u.UploadReaderAt(context.Background(), "images", "k", src, src.size)
	require.NoError(t, err)
	assert.EqualValues(t, 1, copies.Load(), "not asked again")
	assert.Equal(t, 2, res.ResumedParts)
	assert.True(t, bytes.Equal(src.bytes(), f.objects["k"]))
}

// TestForEver: a service that never recovers uses up one budget, not nested ones.
func TestForEver(t *testing.T) {
	t.Parallel()
	s := gateway(t)
	var tries atomic.Int64
	px, bad := newProxy(t, s, 1, fault503)
	px.only = func(r *http.Request) bool {
		if r.Method == http.MethodPut && r.URL.Query().Get("partNumber") == "1" {
			tries.Add(1)
			return true
		}
		return false
	}
	u, err := uploader.New(bad.client(t, uploader.WithRetries(4, time.Millisecond, 2*time.Millisecond)))
	require.NoError(t, err)
	_, err = u.UploadReaderAt(context.Background(), s.bucket, s.key(), bytes.NewReader(noise(1, 6*mib)), 6*mib)
	var e *uploader.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, 503, e.StatusCode)
	assert.Equal(t, "SlowDown", e.Code)
	assert.EqualValues(t, 1, e.Part)
	assert.EqualValues(t, 4, tries.Load())
	requireClean(t, s, "")
}
