package uploader

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// prepare finds out what an earlier run left and resumes or removes it. finished
// reports that it had completed the object already.
func (s *session) prepare(ctx context.Context) (finished bool, err error) {
	s.st = s.newState()
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
	if s.restart = st.mismatch(s); s.restart != "" || st.UploadID == "" {
		return false, s.discard(ctx, st)
	}
	parts, err := s.c.listParts(ctx, s.bucket, s.key, st.UploadID)
	switch {
	case errors.Is(err, ErrNoSuchUpload), errors.Is(err, ErrNoSuchKey):
		return s.gone(ctx, st)
	case unlistable(err):
		s.restart = "its parts cannot be listed: " + err.Error()
		return false, s.discard(ctx, st)
	case err != nil:
		return false, err
	}
	s.resume(st)
	s.existing = parts
	s.enter(phaseParts)
	return false, nil
}

// unlistable: the keys may not list parts, or the service cannot.
func unlistable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && !is[*PermanentError](err) && (errors.Is(err, ErrAccessDenied) || e.StatusCode == 405 || e.StatusCode == 501)
}

// resume takes over what an earlier run noted.
func (s *session) resume(st *state) {
	s.st, s.uploadID, s.partSize = st, st.UploadID, st.PartSize
	s.zero.key, s.zero.version, s.zero.refused = st.ZeroKey, st.ZeroVersion, st.NoCopy
	if len(st.Parts) > 0 {
		s.etags.set(etagsOpaque) // until a part shows the contrary
	}
}

// gone decides what it means that the upload is not there any more: it was
// completed by a process that died before it could say so, or it was removed.
func (s *session) gone(ctx context.Context, st *state) (finished bool, err error) {
	s.restart = "the upload is gone on the server"
	if st.FinalETag == "" || st.Fingerprint == "" {
		return false, s.discard(ctx, st)
	}
	info, err := s.c.HeadObject(ctx, s.bucket, s.key)
	switch {
	case errors.Is(err, ErrNoSuchKey), errors.Is(err, ErrAccessDenied):
		return false, s.discard(ctx, st)
	case err != nil:
		return false, err
	case !st.proves(info):
		return false, s.discard(ctx, st)
	}
	s.restart = ""
	s.finishedBefore(st, info)
	return true, nil
}

func (s *session) finishedBefore(st *state, info *ObjectInfo) {
	parts := max(1, (st.FinalSize+st.PartSize-1)/st.PartSize)
	s.resume(st)
	if sameETag(info.ETag, st.FinalETag) {
		s.etags.set(etagsDigests)
	}
	s.etag, s.stored = info.ETag, info.Size
	s.enter(phaseStored)
	s.enter(phaseProven)
	s.n.done.Store(info.Size)
	s.n.resumed.Store(info.Size)
	s.n.parts.Store(parts)
	s.n.resumedParts.Store(parts)
}

// discard removes what an earlier run left on the server, then its state. What
// cannot be removed, for lack of rights say, is a warning: it would be in the
// way of every later upload to the same key.
func (s *session) discard(ctx context.Context, st *state) error {
	if st.Bucket == s.bucket && st.Key == s.key {
		if st.UploadID != "" {
			s.warn(s.c.AbortUpload(ctx, s.bucket, s.key, st.UploadID))
		} else {
			// It died between asking for an upload and noting the answer.
			s.warn(s.c.orphans(ctx, s.bucket, s.key, "", st.Created))
		}
		if st.ZeroKey != "" {
			s.warn(s.c.deleteVersion(ctx, s.bucket, st.ZeroKey, st.ZeroVersion))
		}
	}
	if ctx.Err() != nil {
		return s.target("Upload", 0).fail(cancelCause(ctx)) // nothing was tried: the state stays
	}
	return s.opt.store.Remove(ctx, s.name)
}

// orphans reports uploads of exactly this key that may have been begun by a
// request whose answer was lost: they have no parts, as nobody knows their id,
// and began after that request. It removes none: each may be another host's that
// has just begun. The minute is for an inexact clock.
func (c *Client) orphans(ctx context.Context, bucket, key, own string, since time.Time) error {
	for u, err := range c.Stale(ctx, bucket, key, time.Time{}) {
		if err != nil {
			return fmt.Errorf("an unfinished upload of %s may be left: %w", key, err)
		}
		if u.Key != key || u.UploadID == own || u.Initiated.Before(since.Add(-time.Minute)) {
			continue
		}
		if parts, err := c.listParts(ctx, bucket, key, u.UploadID); err != nil || len(parts) > 0 {
			continue
		}
		return fmt.Errorf("upload %s of %s has no parts: if no other host has just begun it, a lost answer left it", clip(u.UploadID), key)
	}
	return nil
}
