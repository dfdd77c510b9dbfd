package uploader

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// prepare finds out what an earlier run left and takes it up or removes it.
// finished reports that it had completed the object already.
func (s *session) prepare(ctx context.Context) (finished bool, err error) {
	if s.opt.store == nil {
		return false, nil
	}
	st, reason, err := loadState(ctx, s.opt.store, s.name)
	if err != nil {
		return false, err
	}
	s.restart = reason
	if st == nil || reason != "" {
		return false, nil
	}
	if s.restart = st.mismatch(s); s.restart != "" {
		return false, s.discard(ctx, st)
	}
	if st.UploadID == "" {
		// It died between asking for an upload and noting the answer.
		return false, s.discard(ctx, st)
	}
	parts, err := s.c.listParts(ctx, s.bucket, s.key, st.UploadID)
	if errors.Is(err, ErrNoSuchUpload) || errors.Is(err, ErrNoSuchKey) {
		return s.gone(ctx, st)
	}
	if err != nil {
		return false, err
	}
	s.st, s.uploadID, s.created = st, st.UploadID, true
	s.existing, s.partSize = parts, st.PartSize
	s.zero.key, s.zero.refused = st.ZeroKey, st.NoCopy
	s.encrypted.Store(st.Encrypted)
	return false, nil
}

// gone decides what it means that the upload is not there any more: it was
// completed by a process that died before it could say so, or it was removed.
func (s *session) gone(ctx context.Context, st *state) (finished bool, err error) {
	if st.FinalETag != "" && st.Fingerprint != "" {
		s.encrypted.Store(st.Encrypted)
		info, err := s.c.HeadObject(ctx, s.bucket, s.key)
		if err == nil && info.Size == st.FinalSize && (sameDigest(info.ETag, st.FinalETag) ||
			st.Encrypted && info.Modified.After(st.Created.Add(-time.Minute))) {
			s.finishedBefore(st, info)
			return true, nil
		}
		if err != nil && !errors.Is(err, ErrNoSuchKey) {
			return false, err
		}
	}
	s.restart = "the upload is gone on the server"
	return false, s.discard(ctx, st)
}

func (s *session) finishedBefore(st *state, info *ObjectInfo) {
	parts := (st.FinalSize + st.PartSize - 1) / st.PartSize
	s.st, s.uploadID, s.partSize = st, st.UploadID, st.PartSize
	s.zero.key = st.ZeroKey
	s.etag, s.stored, s.done = info.ETag, info.Size, true
	s.n.done.Store(info.Size)
	s.n.resumed.Store(info.Size)
	s.n.parts.Store(parts)
	s.n.resumedParts.Store(parts)
}

// discard removes what an earlier run left on the server, then its state.
func (s *session) discard(ctx context.Context, st *state) error {
	if st.Bucket != s.bucket || st.Key != s.key {
		return s.opt.store.Remove(ctx, s.name)
	}
	if st.UploadID != "" {
		if err := s.c.AbortUpload(ctx, s.bucket, s.key, st.UploadID); err != nil {
			return cleanupError(err)
		}
	} else if err := s.c.sweep(ctx, s.bucket, s.key, s.uploadID, st.Created); err != nil {
		return cleanupError(err)
	}
	if st.ZeroKey != "" {
		if err := s.c.DeleteObject(ctx, s.bucket, st.ZeroKey); err != nil {
			return cleanupError(err)
		}
	}
	return s.opt.store.Remove(ctx, s.name)
}

func cleanupError(err error) error { return fmt.Errorf("%w: %w", ErrCleanup, err) }

// sweep aborts uploads of exactly this key that were created unseen: a request
// whose answer was lost may have made one. It has no parts, as nobody knows
// its id, and began when we asked; the minute is for clocks that differ.
func (c *Client) sweep(ctx context.Context, bucket, key, own string, since time.Time) error {
	for u, err := range c.Stale(ctx, bucket, key, time.Time{}) {
		if err != nil {
			return err
		}
		if u.Key != key || u.UploadID == own || u.Initiated.Before(since.Add(-time.Minute)) {
			continue
		}
		parts, err := c.listParts(ctx, bucket, key, u.UploadID)
		if errors.Is(err, ErrNoSuchUpload) || err == nil && len(parts) > 0 {
			continue
		}
		if err != nil {
			return err
		}
		if err := c.AbortUpload(ctx, bucket, key, u.UploadID); err != nil {
			return err
		}
	}
	return nil
}

// cleanupTimeout bounds the clean-up after a cancelled upload.
const cleanupTimeout = 2 * time.Minute

// cleanup removes what is not to stay. It runs after the caller's context may
// have ended, so it has its own.
func (s *session) cleanup(ctx context.Context, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	var errs []error
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	keep := failure != nil && !s.done && s.keeps() && !errors.Is(failure, ErrSourceChanged)
	if keep {
		add(s.saveRest(ctx))
	}
	if s.created && s.open() && !keep {
		add(s.c.AbortUpload(ctx, s.bucket, s.key, s.uploadID))
	}
	if s.damaged {
		add(s.c.DeleteObject(ctx, s.bucket, s.key))
	}
	if s.zero.key != "" {
		add(s.c.DeleteObject(ctx, s.bucket, s.zero.key))
	}
	if s.unsureCreate && !(keep && s.uploadID == "") {
		add(s.c.sweep(ctx, s.bucket, s.key, s.uploadID, s.started))
	}
	// State that still names something on the server stays for the next run.
	if s.opt.store != nil && !keep && len(errs) == 0 {
		add(s.opt.store.Remove(ctx, s.name))
	}
	if len(errs) == 0 {
		return nil
	}
	return cleanupError(errors.Join(errs...))
}

// open reports whether the multipart upload still exists: it does unless it was
// completed. An object put in one piece leaves the upload that was to be resumed.
func (s *session) open() bool { return !s.done || s.single }

func (s *session) keeps() bool {
	switch s.opt.failure {
	case FailAbort:
		return false
	case FailKeep:
		return true
	}
	return s.opt.store != nil
}
