package uploader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"

	"github.com/fastimage/fastimage/internal/ctxio"
)

// Uploader uploads objects. It is safe for concurrent use.
type Uploader struct {
	c   *Client
	opt options
}

// New returns an uploader for the client. Each upload can override the options.
func New(c *Client, opts ...Option) (*Uploader, error) {
	if c == nil {
		return nil, pkg.Errorf("%w: no client", ErrConfig)
	}
	opt, err := defaultOptions().with(opts)
	if err != nil {
		return nil, err
	}
	return &Uploader{c: c, opt: opt}, nil
}

// Result is what an upload did.
type Result struct {
	Bucket, Key   string
	ETag          string  // of the object, without quotes
	UploadID      string  // "" if the object went up in one piece
	ObjectBytes   int64   // size of the object
	WireBytes     int64   // bytes of content sent, resent ones and the zero object included
	CopiedBytes   int64   // bytes made on the server by copying
	ResumedBytes  int64   // bytes that an earlier run had sent
	Parts         int     // 1 if the object went up in one piece
	CopiedParts   int     // made on the server by copying
	ResumedParts  int     // that an earlier run had sent
	Retries       int     // attempts that failed and were made again
	PartSize      int64   // bytes
	Encrypted     bool    // the bucket encrypts: ETags are no MD5 and were not compared
	RestartReason string  // why an earlier run was not resumed, "" if it was or there was none
	CleanupErr    error   // what could not be removed after a successful upload
	Seconds       float64 // of the whole upload
}

// extents is offered by sparse sources: NextData returns the first range of
// data [start, end) with end > off and start >= off; io.EOF when there is none.
// Everything outside such ranges reads as zeros.
type extents interface {
	NextData(off int64) (start, end int64, err error)
}

// UploadReaderAt uploads size bytes of r. If r also has a method
// NextData(off int64) (start, end int64, err error), holes are not read; parts
// that are all zeros are made on the server.
func (u *Uploader) UploadReaderAt(ctx context.Context, bucket, key string, r io.ReaderAt, size int64, opts ...Option) (*Result, error) {
	s, err := u.session(bucket, key, size, opts)
	if err != nil {
		return nil, err
	}
	s.src = r
	s.holes, _ = r.(extents)
	if st, ok := r.(interface{ Stat() (fs.FileInfo, error) }); ok {
		s.stat = st.Stat
	}
	if s.first = s.identity(); s.opt.fingerprint == "" {
		s.opt.fingerprint = s.first
	}
	return s.run(ctx, io.NewSectionReader(r, 0, size))
}

// UploadStream uploads all of r, which is at most maxSize bytes long. To resume
// it, the same stream is generated again; parts are compared by their digest.
func (u *Uploader) UploadStream(ctx context.Context, bucket, key string, r io.Reader, maxSize int64, opts ...Option) (*Result, error) {
	s, err := u.session(bucket, key, maxSize, opts)
	if err != nil {
		return nil, err
	}
	s.stream = true
	return s.run(ctx, r)
}

// session checks what can be known before anything is sent.
func (u *Uploader) session(bucket, key string, size int64, opts []Option) (*session, error) {
	if err := CheckName(bucket, key); err != nil {
		return nil, err
	}
	opt, err := u.opt.with(opts)
	if err != nil {
		return nil, err
	}
	if opt.contentType == "" {
		opt.contentType = defaultContentType
	}
	ps, err := opt.partSizeFor(size)
	if err != nil {
		return nil, err
	}
	s := &session{
		c: u.c, opt: opt, bucket: bucket, key: key, size: size, partSize: ps,
		name: stateName(u.c.Endpoint(), bucket, key),
		sums: map[int32][16]byte{}, odd: map[int32]bool{}, m: &meter{}, started: time.Now(),
	}
	if opt.limiter != nil {
		s.m.limits = append(s.m.limits, opt.limiter)
	}
	if opt.rate > 0 {
		own, err := NewLimiter(Limits{BytesPerSecond: opt.rate})
		if err != nil {
			return nil, err
		}
		s.m.limits = append(s.m.limits, own)
	}
	// Part buffers are used again by all uploads that share a limit of them, or
	// else by this one.
	if s.buffers = opt.limiter; s.buffers.Limits().BufferedBytes == 0 {
		s.buffers, err = NewLimiter(Limits{BufferedBytes: int64(opt.concurrency) * ps})
	}
	return s, err
}

// run is one upload from lock to clean-up.
func (s *session) run(ctx context.Context, body io.Reader) (res *Result, err error) {
	ctx = withMeter(ctx, s.m)
	rep := startReporter(s)
	defer rep.finish()
	ctx = ObserveRetries(ctx, rep.retried)
	if s.opt.store != nil {
		unlock, lerr := s.opt.store.Lock(ctx, s.name)
		if lerr != nil {
			return nil, pkg.Errorf("obs://%s/%s: %w", s.bucket, s.key, lerr)
		}
		defer func() {
			if uerr := unlock(); uerr != nil {
				err = errors.Join(err, cleanupError(uerr))
			}
		}()
	}
	if _, err := s.c.CheckBucket(ctx, s.bucket, s.opt.class); err != nil {
		return nil, err
	}
	finished, err := s.prepare(ctx)
	if err != nil {
		return nil, err
	}
	if !finished {
		err = s.transfer(ctx, body)
	}
	s.unreserve(math.MaxInt64)
	clean := s.cleanup(ctx, err)
	if err != nil {
		return nil, joinCleanup(err, clean)
	}
	return s.result(clean), nil
}

// joinCleanup keeps err's type and text when there is nothing to add.
func joinCleanup(err, clean error) error {
	if clean == nil {
		return err
	}
	return errors.Join(err, clean)
}

// transfer sends the body and verifies what is stored.
func (s *session) transfer(ctx context.Context, body io.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.cancel = cancel
	if s.stream {
		body = &sourceReader{ctx: ctx, s: s, r: ctxio.NewReader(ctx, body), most: s.size}
	}
	if err := managed(ctx, s, body); err != nil {
		return s.explain(ctx, err)
	}
	return s.verify(ctx)
}

// explain finds the first failure, which cancelled everything else.
func (s *session) explain(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return s.target("Upload", 0).fail(err)
}

func (s *session) result(clean error) *Result {
	return &Result{
		Bucket: s.bucket, Key: s.key, ETag: s.etag, UploadID: s.uploadID,
		ObjectBytes: s.stored, WireBytes: s.m.wire.Load(),
		CopiedBytes: s.n.copied.Load(), ResumedBytes: s.n.resumed.Load(),
		Parts: int(s.n.parts.Load()), CopiedParts: int(s.n.copiedParts.Load()),
		ResumedParts: int(s.n.resumedParts.Load()), Retries: int(s.m.retries.Load()),
		PartSize: s.partSize, Encrypted: s.etags.is(etagsOpaque), RestartReason: s.restart,
		CleanupErr: clean, Seconds: time.Since(s.started).Seconds(),
	}
}

// identity of a file; "" for other sources.
func (s *session) identity() string {
	if s.stat == nil {
		return ""
	}
	fi, err := s.stat()
	if err != nil {
		return ""
	}
	return FileFingerprint(fi)
}

// FileFingerprint is the identity of a file for WithFingerprint: its size, time
// of change and inode.
func FileFingerprint(fi fs.FileInfo) string {
	return fmt.Sprintf("file:%d:%d:%d", fi.Size(), fi.ModTime().UnixNano(), inode(fi))
}

// sourceReader is a stream on its way in: it marks its errors, holds it to its
// bound, reserves memory part by part, and ends it when the upload does.
type sourceReader struct {
	ctx  context.Context // of this upload alone
	s    *session
	r    io.Reader
	n    int64
	most int64
	next int64 // where the next reservation begins
}

func (r *sourceReader) Read(p []byte) (int, error) {
	if r.n == r.next {
		if err := r.s.reserve(r.ctx, r.s.partSize); err != nil {
			return 0, err
		}
		r.next += r.s.partSize
	}
	if left := r.next - r.n; int64(len(p)) > left {
		p = p[:left]
	}
	n, err := r.r.Read(p)
	r.n += int64(n)
	if r.n > r.most {
		return n, pkg.Errorf("%w: the stream exceeds %d bytes", ErrTooLarge, r.most)
	}
	if err != nil && err != io.EOF && r.ctx.Err() == nil {
		return n, &sourceError{r.n, err}
	}
	return n, err
}

// reserve takes n bytes of the limiter for a stream's part.
func (s *session) reserve(ctx context.Context, n int64) error {
	if err := s.opt.limiter.Reserve(ctx, n); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reserved += n
	return nil
}

// unreserve gives up to n bytes back.
func (s *session) unreserve(n int64) {
	s.mu.Lock()
	n = min(n, s.reserved)
	s.reserved -= n
	s.mu.Unlock()
	for ; n > 0; n -= s.partSize {
		s.opt.limiter.Release(s.partSize)
	}
}
