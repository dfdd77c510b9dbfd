package uploader

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
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
	first       string      // identity of the source at the start
	bufs        chan []byte // free part buffers of an io.ReaderAt
	m           *meter
	n           counters
	started     time.Time
	cancel      context.CancelCauseFunc
	encrypted   atomic.Bool

	saving   sync.Mutex    // keeps saves in order, and guards what follows
	saved    time.Time     // end of the last save
	saveTook time.Duration // by the last save
	unsaved  bool          // parts were noted since

	mu   sync.Mutex         // guards sums and st
	sums map[int32][16]byte // MD5 of each part
	st   *state             // nil until an upload is created

	// Set before the workers start, or after they ended.
	uploadID     string
	existing     map[int32]remotePart
	restart      string
	unsureCreate bool // a creation may have succeeded unseen
	created      bool // this run's upload or a resumed one is under way
	done         bool // the object is complete
	single       bool // the object went up in one piece
	damaged      bool // the object is complete, but not what was sent
	etag         string
	stored       int64
	zero         zeroObject
}

// PutObject is what the manager calls for an object smaller than a part.
func (s *session) PutObject(ctx context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	p, err := s.readPart(1, in.Body)
	if err != nil {
		return nil, err
	}
	defer p.release()
	if err := s.unchanged(); err != nil {
		return nil, err
	}
	etag, enc, err := s.c.put(ctx, s.bucket, s.key, content{body: p.body(), n: p.n, sum: p.sum, kind: s.opt.contentType})
	if err != nil {
		return nil, err
	}
	s.encrypted.Store(enc)
	s.etag, s.stored, s.done, s.single = etag, p.n, true, true
	s.n.done.Add(p.n)
	s.n.parts.Add(1)
	return &s3.PutObjectOutput{ETag: &etag}, nil
}

// CreateMultipartUpload answers with the upload to resume, if there is one.
func (s *session) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	if s.uploadID != "" {
		return &s3.CreateMultipartUploadOutput{UploadId: &s.uploadID}, nil
	}
	s.st = s.newState()
	if err := s.saveState(ctx); err != nil {
		return nil, err
	}
	id, sse, unsure, err := s.c.createUpload(ctx, s.bucket, s.key, in.ContentType)
	s.unsureCreate = unsure
	if err != nil {
		return nil, err
	}
	s.encrypted.Store(sse)
	s.uploadID, s.created = id, true
	s.mu.Lock()
	s.st.UploadID, s.st.Encrypted = s.uploadID, sse
	s.mu.Unlock()
	return &s3.CreateMultipartUploadOutput{UploadId: &s.uploadID}, s.saveState(ctx)
}

// maxUploadID is far more than any service's ids have; they are kept in the
// state and sent with every part.
const maxUploadID = 4096

// createUpload begins a multipart upload. unsure reports that an attempt whose
// answer was lost may have begun one too.
func (c *Client) createUpload(ctx context.Context, bucket, key string, contentType *string) (id string, encrypted, unsure bool, err error) {
	err = c.do(ctx, target{op: "CreateMultipartUpload", bucket: bucket, key: key}, func(ctx context.Context) error {
		out, err := c.api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket: &bucket, Key: &key, ContentType: contentType,
		})
		if err != nil {
			unsure = unsure || ambiguous(err)
			return err
		}
		if id = aws.ToString(out.UploadId); id == "" || len(id) > maxUploadID {
			n := len(id)
			id = ""
			return badAnswer("CreateMultipartUpload", bucket, key, fmt.Sprintf("upload id of %d bytes", n))
		}
		encrypted = out.ServerSideEncryption != ""
		return nil
	})
	return id, encrypted, unsure, err
}

func (s *session) newState() *state {
	return &state{
		Version: stateVersion, Endpoint: s.c.Endpoint(), Bucket: s.bucket, Key: s.key,
		PartSize: s.partSize, Stream: s.stream, Size: s.size, Fingerprint: s.opt.fingerprint,
		Created: s.started.UTC(),
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
	p, err := s.readPart(num, body)
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
	if p.zero && s.opt.zeroCopy {
		etag, ok, err := s.copyZeros(ctx, num, p)
		if err != nil {
			return "", err
		}
		if ok {
			s.n.copied.Add(p.n)
			s.n.copiedParts.Add(1)
			s.finishPart(p.n)
			return etag, s.notePart(ctx, num, p, etag)
		}
	}
	etag, err := s.send(ctx, num, p)
	if err != nil {
		return "", err
	}
	s.finishPart(p.n)
	return etag, s.notePart(ctx, num, p, etag)
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
	if sameDigest(have.etag, sum) {
		return have.etag, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st == nil {
		return "", false
	}
	known, ok := s.st.Parts[num]
	return have.etag, ok && known.MD5 == sum && known.ETag == have.etag
}

// notePart remembers what an ETag stands for where it is no MD5.
func (s *session) notePart(ctx context.Context, num int32, p *part, etag string) error {
	sum := hex.EncodeToString(p.sum[:])
	if s.opt.store == nil || sameDigest(etag, sum) {
		return nil
	}
	s.mu.Lock()
	if s.st.Parts == nil {
		s.st.Parts = map[int32]storedPart{}
	}
	s.st.Encrypted = true
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
		return s.check(ctx, etag, p.sum, string(out.ServerSideEncryption))
	})
	return etag, err
}

// check compares an ETag, and remembers an encrypted bucket.
func (s *session) check(ctx context.Context, etag string, sum [16]byte, sse string) error {
	if s.encrypted.Load() && etag != "" {
		return nil
	}
	enc, err := s.c.compare(ctx, s.bucket, etag, sum, sse)
	if enc {
		s.encrypted.Store(true)
	}
	return err
}

// CompleteMultipartUpload puts the parts together and compares the result.
func (s *session) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	if err := s.unchanged(); err != nil {
		return nil, err
	}
	want := s.finalETag(len(in.MultipartUpload.Parts))
	size := s.n.done.Load()
	s.mu.Lock()
	s.st.FinalETag, s.st.FinalSize = want, size
	s.mu.Unlock()
	if err := s.saveState(ctx); err != nil {
		return nil, err
	}
	etag, err := s.complete(withStall(ctx, 10*s.c.stall), in.MultipartUpload, want, size)
	if err != nil {
		return nil, err
	}
	s.etag, s.stored, s.done = etag, size, true
	if !sameDigest(etag, want) && !s.encrypted.Load() && !s.c.bucketEncrypts(ctx, s.bucket) {
		s.damaged = true
		return nil, s.target("CompleteMultipartUpload", 0).wrap(&markedError{
			ErrBadDigest, fmt.Errorf("stored with ETag %q, sent %q", clip(etag), want)}, 1)
	}
	if !sameDigest(etag, want) {
		s.encrypted.Store(true)
	}
	return &s3.CompleteMultipartUploadOutput{ETag: &etag}, nil
}

// complete retries the completion. When an attempt may have succeeded unseen,
// the next one finds the upload gone: then the object itself is the answer.
func (s *session) complete(ctx context.Context, parts *types.CompletedMultipartUpload, want string, size int64) (etag string, err error) {
	unsure := false
	err = s.c.do(ctx, s.target("CompleteMultipartUpload", 0), func(ctx context.Context) error {
		out, err := s.c.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.bucket, Key: &s.key, UploadId: &s.uploadID, MultipartUpload: parts,
		})
		if err == nil {
			etag = trimETag(out.ETag)
			if etag == "" {
				// Cut off or not told: the object is the answer.
				info, err := s.c.HeadObject(ctx, s.bucket, s.key)
				if err != nil {
					return err
				}
				etag = info.ETag
			}
			return nil
		}
		if unsure && !retryable(err) {
			if info, herr := s.c.HeadObject(ctx, s.bucket, s.key); herr == nil && s.ours(info, want, size) {
				etag = info.ETag
				return nil
			}
		}
		unsure = unsure || ambiguous(err)
		return err
	})
	return etag, err
}

// ours recognises the object that we completed.
func (s *session) ours(info *ObjectInfo, want string, size int64) bool {
	return info.Size == size && (sameDigest(info.ETag, want) || s.encrypted.Load() && info.Modified.After(s.started.Add(-time.Minute)))
}

// finalETag is md5(concatenated part MD5s)-N.
func (s *session) finalETag(n int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := md5.New()
	for i := 1; i <= n; i++ {
		sum := s.sums[int32(i)]
		h.Write(sum[:])
	}
	return fmt.Sprintf("%x-%d", h.Sum(nil), n)
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
			return s.target("Upload", 0).wrap(&markedError{ErrSourceChanged, err}, 1)
		}
	}
	if s.stat == nil || s.first == "" || s.identity() == s.first {
		return nil
	}
	return s.target("Upload", 0).wrap(ErrSourceChanged, 1)
}

// verify reads back what is stored: its size, and its ETag where it is a digest.
func (s *session) verify(ctx context.Context) error {
	info, err := s.c.HeadObject(ctx, s.bucket, s.key)
	if err != nil {
		return err
	}
	if info.Size != s.stored || info.ETag != s.etag && !s.encrypted.Load() {
		return s.target("HeadObject", 0).wrap(&markedError{ErrBadDigest,
			fmt.Errorf("%d bytes with ETag %q are stored, sent were %d with %q", info.Size, clip(info.ETag), s.stored, s.etag)}, 1)
	}
	return nil
}
