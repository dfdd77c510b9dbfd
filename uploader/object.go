package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ObjectOption configures OpenObject.
type ObjectOption func(*objectOptions) error

type objectOptions struct {
	block int64
	ahead int
	cache int
}

// WithBlockSize sets the bytes of one range request. Range: 4 KiB to 64 MiB,
// default: 1 MiB.
func WithBlockSize(n int64) ObjectOption {
	return func(o *objectOptions) error {
		if n < 4<<10 || n > 64<<20 {
			return fmt.Errorf("%w: block size %d", ErrConfig, n)
		}
		o.block = n
		return nil
	}
}

// WithReadAhead sets how many blocks are fetched in parallel ahead of a reader
// that moves forward. Range: 0 to 64, default: 4. Memory is at most
// (2*blocks+4) block sizes, beside those being read.
func WithReadAhead(blocks int) ObjectOption {
	return func(o *objectOptions) error {
		if blocks < 0 || blocks > 64 {
			return fmt.Errorf("%w: read-ahead of %d blocks", ErrConfig, blocks)
		}
		o.ahead = blocks
		return nil
	}
}

// Object reads a stored object by range requests. It is pinned to the ETag it
// had when it was opened: one that is replaced meanwhile is ErrObjectChanged.
// It is safe for concurrent use.
type Object struct {
	c    *Client
	info ObjectInfo
	opt  objectOptions
	ctx  context.Context // of all requests, ended by Close: io.ReaderAt has none
	end  context.CancelFunc
	wg   sync.WaitGroup // fetches under way

	mu     sync.Mutex // guards blocks, order, next, closed
	blocks map[int64]*block
	order  []int64 // least recently used first
	next   int64   // block after the one read last
	closed bool
}

// block is a fetched range, or one under way.
type block struct {
	ready chan struct{} // closed when data and err are set
	data  []byte
	err   error
}

// OpenObject opens an object for reading. The context bounds the opening alone;
// reads end with Close.
func (c *Client) OpenObject(ctx context.Context, bucket, key string, opts ...ObjectOption) (*Object, error) {
	o := objectOptions{block: 1 << 20, ahead: 4}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if err := checkBucket(bucket); err != nil {
		return nil, err
	}
	if key == "" {
		return nil, fmt.Errorf("%w: empty key", ErrInvalidName)
	}
	info, err := c.HeadObject(ctx, bucket, key)
	if err != nil {
		return nil, err
	}
	if info.ETag == "" {
		return nil, badAnswer("HeadObject", bucket, key, "an object without an ETag cannot be held to it")
	}
	o.cache = 2*o.ahead + 4
	obj := &Object{c: c, info: *info, opt: o, blocks: map[int64]*block{}, next: -1}
	obj.ctx, obj.end = context.WithCancel(context.WithoutCancel(ctx))
	return obj, nil
}

// Size returns the object's size in bytes.
func (o *Object) Size() int64 { return o.info.Size }

// Info describes the object as it was when it was opened.
func (o *Object) Info() ObjectInfo { return o.info }

// Close ends all requests and waits for them.
func (o *Object) Close() error {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.end()
	o.wg.Wait()
	return nil
}

// ReadAt implements io.ReaderAt.
func (o *Object) ReadAt(p []byte, off int64) (int, error) {
	return o.ReadAtContext(o.ctx, p, off)
}

// ReadAtContext is ReadAt that stops waiting when the context ends.
func (o *Object) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%w: negative offset", ErrConfig)
	}
	done := 0
	for done < len(p) {
		pos := off + int64(done)
		if pos >= o.info.Size {
			return done, io.EOF
		}
		i := pos / o.opt.block
		data, err := o.get(ctx, i, (off+int64(len(p))-1)/o.opt.block)
		if err != nil {
			return done, err
		}
		done += copy(p[done:], data[pos-i*o.opt.block:])
	}
	return done, nil
}

// get returns a block, and starts the fetch of those that will be wanted next:
// the rest of this read, and what follows a reader that moves forward.
func (o *Object) get(ctx context.Context, i, last int64) ([]byte, error) {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return nil, fmt.Errorf("uploader: read of obs://%s/%s: object is closed", o.info.Bucket, o.info.Key)
	}
	b := o.start(i)
	ahead := i
	if i == o.next || i == o.next-1 {
		ahead = i + int64(o.opt.ahead)
	}
	ahead = max(ahead, min(last, i+int64(o.opt.ahead)))
	for j := i + 1; j <= ahead && j*o.opt.block < o.info.Size; j++ {
		o.start(j)
	}
	o.next = i + 1
	o.mu.Unlock()
	select {
	case <-b.ready:
	case <-ctx.Done():
		return nil, cancelCause(ctx)
	}
	if b.err != nil {
		o.forget(i, b)
		return nil, b.err
	}
	return b.data, nil
}

// start returns a block that is there or on its way; o.mu is held.
func (o *Object) start(i int64) *block {
	if b, ok := o.blocks[i]; ok {
		o.touch(i)
		return b
	}
	for len(o.order) >= o.opt.cache {
		delete(o.blocks, o.order[0])
		o.order = o.order[1:]
	}
	b := &block{ready: make(chan struct{})}
	o.blocks[i] = b
	o.order = append(o.order, i)
	o.wg.Add(1)
	go func() {
		defer o.wg.Done()
		defer close(b.ready)
		b.data, b.err = o.fetch(o.ctx, i)
	}()
	return b
}

func (o *Object) touch(i int64) {
	for k, v := range o.order {
		if v == i {
			o.order = append(append(o.order[:k:k], o.order[k+1:]...), i)
			return
		}
	}
}

// forget drops a failed block, so that the next read tries again.
func (o *Object) forget(i int64, b *block) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.blocks[i] != b {
		return
	}
	delete(o.blocks, i)
	for k, v := range o.order {
		if v == i {
			o.order = append(o.order[:k:k], o.order[k+1:]...)
			return
		}
	}
}

// fetch gets one block, with retries.
func (o *Object) fetch(ctx context.Context, i int64) ([]byte, error) {
	start := i * o.opt.block
	buf := make([]byte, min(o.opt.block, o.info.Size-start))
	rng := fmt.Sprintf("bytes=%d-%d", start, start+int64(len(buf))-1)
	quoted := `"` + o.info.ETag + `"`
	t := target{op: "GetObject", bucket: o.info.Bucket, key: o.info.Key}
	err := o.c.do(ctx, t, func(ctx context.Context) error {
		out, err := o.c.api.GetObject(ctx, &s3.GetObjectInput{
			Bucket: &o.info.Bucket, Key: &o.info.Key, Range: &rng, IfMatch: &quoted,
		})
		if err != nil {
			return err
		}
		defer func() { _ = out.Body.Close() }()
		if err := o.checkAnswer(out, start, len(buf)); err != nil {
			return err
		}
		_, err = io.ReadFull(out.Body, buf)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	if errors.Is(err, ErrNoSuchKey) {
		var e *Error
		if errors.As(err, &e) {
			e.Err = &markedError{ErrObjectChanged, e.Err}
		}
	}
	return buf, err
}

// checkAnswer refuses an answer that is of another object or another range: a
// service may ignore If-Match, or Range.
func (o *Object) checkAnswer(out *s3.GetObjectOutput, start int64, n int) error {
	if etag := trimETag(out.ETag); etag != "" && etag != o.info.ETag {
		return &changedError{clip(etag)}
	}
	cr := aws.ToString(out.ContentRange)
	if cr == "" && start == 0 && aws.ToInt64(out.ContentLength) == o.info.Size {
		return nil
	}
	want := "bytes " + strconv.FormatInt(start, 10) + "-" + strconv.FormatInt(start+int64(n)-1, 10) + "/"
	if !strings.HasPrefix(cr, want) {
		return &finalError{&markedError{ErrAnswer, fmt.Errorf("asked for %s, answer has %q", want, clip(cr))}}
	}
	return nil
}

// changedError is final, though it comes with a success.
type changedError struct{ etag string }

func (e *changedError) Error() string {
	return ErrObjectChanged.Error() + ": its ETag is now " + e.etag
}
func (e *changedError) Unwrap() error { return ErrObjectChanged }
