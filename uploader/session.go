package uploader

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/fastimage/fastimage/internal/cloud"
)

// session is one upload, and the API client that the manager sees.
type session struct {
	c           *Client
	opt         options
	bucket, key string
	name        string // of the state
	size        int64  // of a stream: its upper bound
	partSize    int64
	stream      bool
	src         io.ReaderAt // nil for a stream
	holes       extents     // nil if the source offers none
	stat        func() (fs.FileInfo, error)
	first       string         // identity of the source at the start
	buffers     *cloud.Limiter // part buffers of an io.ReaderAt
	m           *meter
	n           counters
	started     time.Time
	cancel      context.CancelCauseFunc
	etags       etagWatch

	saving   sync.Mutex    // keeps saves in order, and guards what follows
	saved    time.Time     // end of the last save
	saveTook time.Duration // by the last save
	unsaved  bool          // parts were noted since

	mu       sync.Mutex         // guards sums, odd, st and reserved
	sums     map[int32][16]byte // MD5 of each part
	odd      map[int32]bool     // parts whose ETag is not their MD5
	st       *state
	reserved int64 // bytes of the limiter that a stream holds

	// Set before the workers start, or after they ended.
	phase    phase
	uploadID string
	existing map[int32]remotePart
	restart  string
	etag     string
	stored   int64
	warnings []error // what stays behind without being in the way
	zero     zeroObject
}

// PutObject is what the manager calls for an object smaller than a part.
func (s *session) PutObject(ctx context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	p, err := s.readPart(ctx, 1, in.Body)
	if err != nil {
		return nil, err
	}
	defer p.release()
	if err := s.unchanged(); err != nil {
		return nil, err
	}
	end, err := s.opt.limiter.StartPart(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	out, err := s.c.put(ctx, s.bucket, s.key, content{body: p.body(), n: p.n, sum: p.sum, kind: s.opt.contentType, metadata: s.metadata()}, &s.etags)
	if err != nil {
		return nil, err
	}
	if s.phase == phaseParts { // a stream that was longer in an earlier run
		s.warn(s.c.AbortUpload(ctx, s.bucket, s.key, s.uploadID))
		s.uploadID = ""
	}
	s.enter(phaseStored)
	s.etag, s.stored = out.etag, p.n
	s.finishPart(p.n)
	return &s3.PutObjectOutput{ETag: &out.etag}, nil
}

// CreateMultipartUpload answers with the upload to resume, if there is one.
func (s *session) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	if s.phase == phaseParts {
		return &s3.CreateMultipartUploadOutput{UploadId: &s.uploadID}, nil
	}
	if err := s.saveState(ctx); err != nil {
		return nil, err
	}
	s.enter(phaseAsked)
	id, lost, err := s.c.createUpload(ctx, s.bucket, s.key, in.ContentType, s.metadata())
	if lost {
		s.warn(s.c.orphans(ctx, s.bucket, s.key, id, s.st.Created))
	}
	if err != nil {
		return nil, err
	}
	s.enter(phaseParts)
	s.mu.Lock()
	s.uploadID, s.st.UploadID = id, id
	s.mu.Unlock()
	return &s3.CreateMultipartUploadOutput{UploadId: &s.uploadID}, s.saveState(ctx)
}

// maxUploadID is far more than any service's ids have; they are kept in the
// state and sent with every part.
const maxUploadID = 4096

// createUpload begins a multipart upload. lost reports that an attempt without an
// answer may have begun one too.
func (c *Client) createUpload(ctx context.Context, bucket, key string, contentType *string, metadata map[string]string) (id string, lost bool, err error) {
	err = c.do(ctx, target{op: "CreateMultipartUpload", bucket: bucket, key: key}, func(ctx context.Context) error {
		out, err := c.api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket: &bucket, Key: &key, ContentType: contentType, Metadata: metadata,
		})
		if err != nil {
			lost = lost || ambiguous(err)
			return err
		}
		if id = aws.ToString(out.UploadId); id == "" || len(id) > maxUploadID {
			n := len(id)
			id = ""
			return badAnswer("CreateMultipartUpload", bucket, key, fmt.Sprintf("upload id of %d bytes", n))
		}
		return nil
	})
	return id, lost, err
}

func (s *session) newState() *state {
	return &state{
		Version: stateVersion, Endpoint: s.c.Endpoint(), Bucket: s.bucket, Key: s.key,
		PartSize: s.partSize, Stream: s.stream, Size: s.size, Fingerprint: s.opt.fingerprint,
		Created: s.c.clock.Now().UTC(), Nonce: newNonce(),
	}
}

func (s *session) target(op string, part int32) target {
	return target{op: op, bucket: s.bucket, key: s.key, part: part}
}

// UploadPart gets a part onto the server by the cheapest way there is: it is
// there already, it is made there from zeros, or it is sent.
func (s *session) UploadPart(ctx context.Context, in *s3.UploadPartInput, _ ...func(*s3.Options)) (*s3.UploadPartOutput, error) {
	etag, err := s.part(ctx, aws.ToInt32(in.PartNumber), in.Body)
	if err != nil {
		s.cancel(err) // the first failure ends the other parts too
		return nil, err
	}
	return &s3.UploadPartOutput{ETag: &etag}, nil
}

func (s *session) part(ctx context.Context, num int32, body io.Reader) (string, error) {
	if ctx.Err() != nil {
		return "", cancelCause(ctx)
	}
	p, err := s.readPart(ctx, num, body)
	if err != nil {
		return "", err
	}
	defer p.release()
	s.mu.Lock()
	s.sums[num] = p.sum
	s.mu.Unlock()
	if etag, ok := s.present(num, p); ok {
		s.n.resumed.Add(p.n)
		s.n.resumedParts.Add(1)
		s.finishPart(p.n)
		return etag, nil
	}
	// After the memory is reserved, in all uploads: they would wait for each
	// other if some took the two in the other order.
	end, err := s.opt.limiter.StartPart(ctx)
	if err != nil {
		return "", err
	}
	defer end()
	etag, copied, err := s.copyOrSend(ctx, num, p)
	if err != nil {
		return "", err
	}
	if copied {
		s.n.copied.Add(p.n)
		s.n.copiedParts.Add(1)
	}
	s.finishPart(p.n)
	return etag, s.notePart(ctx, num, p, etag)
}

func (s *session) copyOrSend(ctx context.Context, num int32, p *part) (etag string, copied bool, err error) {
	if p.zero && s.opt.zeroCopy {
		if etag, ok, err := s.copyZeros(ctx, num, p); ok || err != nil {
			return etag, ok, err
		}
	}
	etag, err = s.send(ctx, num, p)
	return etag, false, err
}

func (s *session) finishPart(n int64) {
	s.n.done.Add(n)
	s.n.parts.Add(1)
}

// present reports whether the server has exactly these bytes already.
func (s *session) present(num int32, p *part) (string, bool) {
	have, ok := s.existing[num]
	if !ok || have.size != p.n {
		return "", false
	}
	sum := hex.EncodeToString(p.sum[:])
	if sameETag(have.etag, sum) {
		s.etags.set(etagsDigests)
		return have.etag, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.st.Parts[num]
	if !ok || known.MD5 != sum || !sameETag(known.ETag, have.etag) {
		return "", false
	}
	s.odd[num] = true
	return have.etag, true
}

// notePart remembers what an ETag stands for where it is no MD5.
func (s *session) notePart(ctx context.Context, num int32, p *part, etag string) error {
	sum := hex.EncodeToString(p.sum[:])
	if s.opt.store == nil || sameETag(etag, sum) {
		return nil
	}
	s.mu.Lock()
	if s.st.Parts == nil {
		s.st.Parts = map[int32]storedPart{}
	}
	s.st.Parts[num] = storedPart{sum, etag}
	s.mu.Unlock()
	return s.saveParts(ctx)
}

// send is one part with retries.
func (s *session) send(ctx context.Context, num int32, p *part) (etag string, err error) {
	err = s.c.do(ctx, s.target("UploadPart", num), func(ctx context.Context) error {
		out, err := s.c.api.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: &s.bucket, Key: &s.key, UploadId: &s.uploadID, PartNumber: &num,
			Body: p.body(), ContentLength: &p.n, ContentMD5: contentMD5(p.sum),
		})
		if err != nil {
			return err
		}
		etag = trimETag(out.ETag)
		return s.check(ctx, num, etag, p.sum, string(out.ServerSideEncryption))
	})
	return etag, err
}

// check compares a part's ETag.
func (s *session) check(ctx context.Context, num int32, etag string, sum [16]byte, sse string) error {
	matches, err := s.etags.check(ctx, s.c, s.bucket, etag, sum, sse)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(s.odd, num); !matches {
			s.odd[num] = true
		}
	}
	return err
}

// AbortMultipartUpload is never called by the manager (LeavePartsOnError), but
// is part of its interface.
func (s *session) AbortMultipartUpload(ctx context.Context, _ *s3.AbortMultipartUploadInput, _ ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error) {
	return &s3.AbortMultipartUploadOutput{}, s.c.AbortUpload(ctx, s.bucket, s.key, s.uploadID)
}

// unchanged compares the source with what it was when the upload began.
func (s *session) unchanged() error {
	if s.opt.check != nil {
		if err := s.opt.check(); err != nil {
			return s.target("Upload", 0).fail(&markedError{ErrSourceChanged, err})
		}
	}
	if s.stat == nil || s.first == "" || s.identity() == s.first {
		return nil
	}
	return s.target("Upload", 0).fail(ErrSourceChanged)
}
