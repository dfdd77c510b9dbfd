package uploader

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// phase is what of an upload is on the server. What a failure leaves to clean up
// follows from it.
type phase int

const (
	phaseNone      phase = iota // nothing
	phaseAsked                  // a multipart upload was asked for, and its id is not known
	phaseParts                  // a multipart upload that takes parts
	phaseCompleted              // its completion was asked for, and may have been carried out
	phaseStored                 // the object, not compared with what was sent
	phaseProven                 // the object, and it is what was sent
	phaseDamaged                // the object, and it is not what was sent
)

// transitions are the phases that can follow another.
var transitions = map[phase][]phase{
	phaseNone:      {phaseAsked, phaseParts, phaseStored}, // new, resumed, in one piece or found
	phaseAsked:     {phaseParts},
	phaseParts:     {phaseCompleted, phaseStored}, // in parts, or in one piece after all
	phaseCompleted: {phaseParts, phaseStored},     // refused, or carried out
	phaseStored:    {phaseProven, phaseDamaged},
}

// enter is the one place where the phase changes.
func (s *session) enter(next phase) {
	if !slices.Contains(transitions[s.phase], next) {
		panic(fmt.Sprintf("uploader: phase %d after %d", next, s.phase))
	}
	s.phase = next
}

// A plan is what becomes of an upload that has ended.
type plan struct {
	abort  bool // the multipart upload
	remove bool // the object
	keep   bool // the state, for the next run
}

// plan derives what to clean up from the phase. keeps says that a failed upload
// is to be resumed.
func (p phase) plan(keeps bool) plan {
	switch p {
	case phaseParts, phaseCompleted:
		return plan{abort: !keeps, keep: keeps}
	case phaseStored:
		return plan{keep: true} // the next run finds it and sends nothing
	case phaseDamaged:
		return plan{remove: true}
	case phaseProven:
		return plan{}
	}
	return plan{keep: keeps}
}

// cleanupContext returns a context for the clean-up, which the caller's may not
// have left any time for. Someone who cancels does not wait long: the network
// may be what made them.
func cleanupContext(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := 2 * time.Minute
	if ctx.Err() != nil {
		limit = 10 * time.Second
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}

// cleanup removes what is not to stay.
func (s *session) cleanup(ctx context.Context, failure error) error {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	var errs []error
	add := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	todo := s.phase.plan(s.keeps() && !errors.Is(failure, ErrSourceChanged))
	if todo.abort {
		add(s.c.AbortUpload(ctx, s.bucket, s.key, s.uploadID))
	}
	if todo.remove {
		add(s.removeDamaged(ctx))
	}
	add(s.removeZeros(ctx))
	switch {
	case s.opt.store == nil:
	case todo.keep:
		add(s.saveRest(ctx))
	case len(errs) == 0: // a state that still names something on the server stays for the next run
		add(s.opt.store.Remove(ctx, s.name))
	default:
		add(s.saveState(ctx))
	}
	errs = append(s.warnings, errs...)
	if len(errs) == 0 {
		return nil
	}
	return cleanupError(errors.Join(errs...))
}

// removeDamaged removes an object of ours: another host may have replaced it.
func (s *session) removeDamaged(ctx context.Context) error {
	info, err := s.c.HeadObject(ctx, s.bucket, s.key)
	if errors.Is(err, ErrNoSuchKey) || err == nil && !s.st.made(info) && !sameETag(info.ETag, s.etag) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.c.DeleteObject(ctx, s.bucket, s.key)
}

// warn notes what stays behind without being in the way.
func (s *session) warn(err error) {
	if err != nil {
		s.warnings = append(s.warnings, err)
	}
}

func (s *session) keeps() bool {
	switch s.opt.failure {
	case FailAbort:
		return false
	case FailKeep:
		return true
	}
	return s.opt.store != nil
}

func cleanupError(err error) error { return pkg.Errorf("%w: %w", ErrCleanup, err) }
