package uploader

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/fastimage/fastimage/internal/cloud"
)

// A meter counts what one upload moves and holds it to its rates. It travels to
// the transport in the request's context, because the SDK has no other way for
// a value to reach it.
type meter struct {
	wire     atomic.Int64 // bytes of content handed to the network, resent ones included
	inflight atomic.Int64 // of these, bytes of attempts that have not ended yet
	retries  atomic.Int64
	limits   []*cloud.Limiter // of this upload, and of all that share one
}

type meterKey struct{}

func withMeter(ctx context.Context, m *meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

func meterFrom(ctx context.Context) *meter {
	m, _ := ctx.Value(meterKey{}).(*meter)
	return m
}

// doer is the SDK's HTTP client: it counts and limits request bodies, bounds
// answers and tells those of a service from web pages.
type doer struct{ http *cloud.Client }

// Do implements s3.HTTPClient.
func (d *doer) Do(req *http.Request) (*http.Response, error) {
	m := meterFrom(req.Context())
	var body *sentBody
	// The list of parts that completes an upload, a POST, is no content.
	if m != nil && req.Method == http.MethodPut && req.Body != nil && req.Body != http.NoBody {
		body = &sentBody{rc: req.Body, ctx: req.Context(), m: m}
		req = req.WithContext(req.Context())
		req.Body = body
	}
	resp, err := d.http.Do(req)
	if body != nil {
		body.done()
	}
	if err != nil {
		return nil, err
	}
	resp.Body = cloud.LimitBody(resp.Body, answerLimit(req, resp), &finalError{&markedError{ErrAnswer, errors.New("too long")}})
	if err := screen(resp); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

// screen refuses web pages: of a portal that wants a login, say, which answers
// any request with success. An object may be a web page: then the answer has the
// service's own headers.
func screen(resp *http.Response) error {
	if resp.Header.Get("ETag") != "" || resp.StatusCode < 300 && requestID(resp.Header) != "" {
		return nil
	}
	buffered := bufio.NewReader(resp.Body)
	start, _ := buffered.Peek(1024) // an error comes again when the body is read
	resp.Body = peekedBody{buffered, resp.Body}
	if p := cloud.Page(resp, start); p != nil {
		return p
	}
	return nil
}

// peekedBody is a body whose start was looked at.
type peekedBody struct {
	io.Reader
	io.Closer
}

// sentBody is a part on its way out.
type sentBody struct {
	rc   io.ReadCloser
	ctx  context.Context // of this attempt alone
	m    *meter
	mu   sync.Mutex // guards sent and over: the transport may read on after Do returned
	sent int64
	over bool
}

func (b *sentBody) Read(p []byte) (int, error) {
	for _, l := range b.m.limits {
		if burst := l.Burst(); burst > 0 && len(p) > burst {
			p = p[:burst]
		}
	}
	n, err := b.rc.Read(p)
	if n > 0 {
		b.account(int64(n))
	}
	for _, l := range b.m.limits {
		if lerr := l.Wait(b.ctx, n); lerr != nil {
			return n, lerr
		}
	}
	return n, err
}

func (b *sentBody) account(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m.wire.Add(n)
	if !b.over {
		b.sent += n
		b.m.inflight.Add(n)
	}
}

// done takes the attempt's bytes out of the in-flight count: from here on the
// part is either finished or to be sent again.
func (b *sentBody) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	b.m.inflight.Add(-b.sent)
}

func (b *sentBody) Close() error { return b.rc.Close() }

const (
	// More than the largest listing: a thousand keys of 1024 bytes, all escaped.
	maxAnswer      = 8 << 20
	maxErrorAnswer = 256 << 10
)

// answerLimit bounds what is parsed; the content of an object is read by its
// length, into a buffer that is there.
func answerLimit(req *http.Request, resp *http.Response) int64 {
	switch {
	case resp.StatusCode >= 300:
		return maxErrorAnswer
	case req.Header.Get("Range") != "":
		return math.MaxInt64
	}
	return maxAnswer
}
