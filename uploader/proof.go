package uploader

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/fastimage/fastimage/internal/cloud"
)

// nonceKey is the name of the object's metadata that says which upload made it.
const nonceKey = "fastimage-upload"

// newNonce names one upload. It is no secret, only unlike any other.
func newNonce() string { return rand.Text() }

func (s *session) metadata() map[string]string { return map[string]string{nonceKey: s.st.Nonce} }

// made reports whether an object says that this upload made it.
func (st *state) made(info *ObjectInfo) bool { return st.Nonce != "" && info.nonce == st.Nonce }

// proves reports whether an object is the one that an upload with this state
// completed: of its size, and made by it or with the digest of all its parts.
// Size and time alone prove nothing: another host may have been here.
func (st *state) proves(info *ObjectInfo) bool {
	return st.FinalETag != "" && info.Size == st.FinalSize &&
		(st.made(info) || sameETag(info.ETag, st.FinalETag))
}

// CompleteMultipartUpload puts the parts together and compares the result.
func (s *session) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	if err := s.unchanged(); err != nil {
		return nil, err
	}
	if err := s.unmatched(); err != nil {
		return nil, err
	}
	n := len(in.MultipartUpload.Parts)
	s.mu.Lock()
	s.st.FinalETag, s.st.FinalSize = s.finalETag(n), s.n.done.Load()
	s.mu.Unlock()
	if err := s.saveState(ctx); err != nil {
		return nil, err
	}
	s.enter(phaseCompleted)
	etag, sse, err := s.complete(cloud.Patient(ctx, 10*s.c.stall), in.MultipartUpload)
	if err != nil {
		if !ambiguous(err) && ctx.Err() == nil {
			s.enter(phaseParts)
		}
		return nil, err
	}
	s.enter(phaseStored)
	s.etag, s.stored = etag, s.st.FinalSize
	// Only an ETag of the known form can tell that something is wrong.
	if s.etags.is(etagsDigests) && joinsParts(etag, n) && !sameETag(etag, s.st.FinalETag) {
		if sse == "" {
			sse = s.c.bucketEncryption(ctx, s.bucket)
		}
		if sse == "" || sse == string(types.ServerSideEncryptionAes256) {
			s.enter(phaseDamaged)
			return nil, s.target("CompleteMultipartUpload", 0).fail(&markedError{
				ErrBadDigest, fmt.Errorf("stored with ETag %q, sent %q", clip(etag), s.st.FinalETag)})
		}
	}
	return &s3.CompleteMultipartUploadOutput{ETag: &etag}, nil
}

// unmatched finds parts whose ETag was taken for no digest, before another part
// showed that they are digests: they are damaged. The next run sends them again.
func (s *session) unmatched() error {
	if !s.etags.is(etagsDigests) {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for num := range s.odd {
		return s.target("UploadPart", num).fail(&markedError{ErrBadDigest, errors.New("its ETag is not its MD5, those of others are")})
	}
	return nil
}

// complete retries the completion. When an attempt may have succeeded unseen,
// the next one finds the upload gone: then the object itself is the answer.
func (s *session) complete(ctx context.Context, parts *types.CompletedMultipartUpload) (etag, sse string, err error) {
	unsure := false
	err = s.c.do(ctx, s.target("CompleteMultipartUpload", 0), func(ctx context.Context) error {
		out, err := s.c.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &s.bucket, Key: &s.key, UploadId: &s.uploadID, MultipartUpload: parts,
		})
		if err == nil && out.ETag == nil && out.Key == nil && out.Bucket == nil && out.Location == nil {
			// An empty or cut answer says nothing: the upload or the object does.
			err = &markedError{errLostAnswer, errors.New("empty answer")}
		}
		if err == nil {
			etag, sse = trimETag(out.ETag), string(out.ServerSideEncryption)
			return nil
		}
		if unsure && !retryable(err, 2) {
			if info, herr := s.c.HeadObject(ctx, s.bucket, s.key); herr == nil && s.st.proves(info) {
				etag = info.ETag
				return nil
			}
		}
		unsure = unsure || ambiguous(err)
		return err
	})
	return etag, sse, err
}

// errLostAnswer: the service may have acted, and did not say so.
var errLostAnswer = pkg.New("no answer")

// verifyPause is the pause before an object that was just stored is looked for
// again: some services are not consistent at once.
const verifyPause = 500 * time.Millisecond

// verify reads back what is stored. A check that fails without showing damage
// leaves the object and the state: the next run finds both.
func (s *session) verify(ctx context.Context) error {
	info, err := s.head(ctx)
	if errors.Is(err, ErrAccessDenied) {
		// Keys that may only write: the completion itself was answered with success.
		s.enter(phaseProven)
		return nil
	}
	if err != nil {
		return err
	}
	if s.etag == "" {
		s.etag = info.ETag
	}
	same := sameETag(info.ETag, s.etag)
	digest := s.etags.is(etagsDigests) && (md5ETag.MatchString(info.ETag) || partsETag.MatchString(info.ETag))
	ours := s.st.made(info) || same || info.nonce == "" && !digest // a store may keep no metadata
	differs := fmt.Errorf("%d bytes with ETag %q are stored, sent were %d with %q", info.Size, clip(info.ETag), s.stored, s.etag)
	switch {
	case !ours:
		return s.target("HeadObject", 0).fail(&markedError{ErrObjectChanged, differs})
	case info.Size != s.stored || digest && !same:
		s.enter(phaseDamaged)
		return s.target("HeadObject", 0).fail(&markedError{ErrBadDigest, differs})
	}
	s.enter(phaseProven)
	return nil
}

// head is HeadObject of what was just stored.
func (s *session) head(ctx context.Context) (info *ObjectInfo, err error) {
	for range 5 {
		info, err = s.c.HeadObject(ctx, s.bucket, s.key)
		if !errors.Is(err, ErrNoSuchKey) {
			return info, err
		}
		if serr := cloud.Sleep(ctx, verifyPause); serr != nil {
			return nil, s.target("HeadObject", 0).fail(serr)
		}
	}
	return info, err
}
