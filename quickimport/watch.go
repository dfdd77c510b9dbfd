package quickimport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/fastimage/fastimage/internal/cloud"
)

// jobWatch follows a job to its end. Records of jobs vanish, lack the image's id,
// or have states that nobody documents; so the image itself is looked at as well
// whenever the job does not say enough.
type jobWatch struct {
	c     *Client
	id    string
	image imageQuery                        // the image as far as it is known
	tell  func(percent int)                 // called with each progress
	warn  func(WarningCode, string, ...any) // called once per unknown state

	most    float64   // the largest progress so far, as the service gave it
	failing time.Time // when the answers began to make no sense; zero while they do
	warned  bool
	seen    bool // the job was read once
}

// imageQuery is what is known of the image that a job makes.
type imageQuery struct {
	id, name string
	foreign  func(ImageInfo) string // why an image of that name is not the job's; nil: any is
}

// wait returns the job at its end, with the image's id. All errors name the job.
func (w *jobWatch) wait(ctx context.Context) (*Job, error) {
	for pause := w.c.o.pollMin; ; pause = min(pause*3/2, w.c.o.pollMax) {
		job, err := w.poll(ctx)
		switch {
		case ctx.Err() != nil:
			return nil, w.stopped(context.Cause(ctx))
		case err != nil:
			return nil, err
		case job != nil:
			return job, nil
		}
		if err := cloud.Sleep(ctx, jitter(pause)); err != nil {
			return nil, w.stopped(err)
		}
	}
}

// named is an error that names the job.
func (w *jobWatch) named(err error) error {
	if strings.Contains(err.Error(), w.id) {
		return err
	}
	return pkg.Errorf("job %s: %w", w.id, err)
}

// stopped is the error of a context that ended: the job continues.
func (w *jobWatch) stopped(err error) error {
	return pkg.Errorf("%w: %w (job %s continues in the cloud; its id can be used to follow it later)", ErrStoppedWaiting, err, w.id)
}

// poll looks once. It returns nil and no error while the job has not ended.
func (w *jobWatch) poll(ctx context.Context) (*Job, error) {
	// Answers that may pass are waited out as long as the caller likes to wait.
	job, err := w.c.readJob(ctx, w.id, cloud.NoLimit)
	if ctx.Err() != nil {
		return nil, nil
	}
	if err != nil {
		return w.lookAround(ctx, Job{ID: w.id}, err)
	}
	w.seen = true
	w.learn(job)
	switch {
	case job.Status.Failed():
		return nil, &JobError{Job: *job}
	case job.Status.Succeeded() && w.image.id != "":
		job.Entities.ImageID = w.image.id
		return job, nil
	case job.Status.Succeeded():
		return w.lookAround(ctx, *job, pkg.Errorf("%w: SUCCESS without an image id", ErrProtocol))
	case job.Status.known():
		w.failing = time.Time{}
		return nil, nil
	}
	return w.unknownState(ctx, job)
}

// learn takes from a job what later answers may lack.
func (w *jobWatch) learn(job *Job) {
	setIfEmpty(&w.image.name, job.Entities.ImageName)
	if job.Entities.ImageID != "" {
		w.image.id = job.Entities.ImageID
	}
	w.most = max(w.most, job.percent)
	if job.percent >= 0 {
		job.Entities.ProcessPercent = scalePercent(job.percent, w.most)
	}
	w.tell(int(job.Entities.ProcessPercent))
}

// unknownState waits for a job in a state that is not documented, unless its
// image is there.
func (w *jobWatch) unknownState(ctx context.Context, job *Job) (*Job, error) {
	if !w.warned {
		w.warned = true
		w.warn(WarnUnknownStatus, "job %s has the undocumented state %q; waiting for its image", w.id, job.Status)
	}
	if img, err := w.c.findImage(ctx, w.image); err == nil && img != nil && img.Status == ImageActive {
		job.Entities.ImageID = img.ID
		return job, nil
	}
	return nil, nil
}

// lookAround decides what an answer that says nothing about the job means: if the
// image is there, the job has done its work. Otherwise the answer may be a
// passing one, until it has been the same for the settle time.
func (w *jobWatch) lookAround(ctx context.Context, job Job, cause error) (*Job, error) {
	img, err := w.c.findImage(ctx, w.image)
	if err == nil && img != nil {
		job.Status, job.Entities.ImageID, job.Entities.ImageName = JobSuccess, img.ID, img.Name
		if img.Status == ImageActive || job.ErrorCode == "" && errors.Is(cause, ErrProtocol) {
			return &job, nil
		}
		w.failing = time.Time{} // it is being made
		return nil, nil
	}
	if ctx.Err() != nil {
		return nil, nil
	}
	if w.failing.IsZero() {
		w.failing = time.Now()
	}
	if errors.Is(cause, ErrAuthentication) && (err == nil || errors.Is(err, ErrAuthentication)) || time.Since(w.failing) >= w.patience(cause) {
		return nil, w.named(errors.Join(cause, err))
	}
	return nil, nil
}

// patience is how long answers that say nothing are waited out. A job that was
// never seen and of which nothing is known may be a mistyped id.
func (w *jobWatch) patience(cause error) time.Duration {
	if !w.seen && w.image.name == "" && w.image.id == "" && errors.Is(cause, ErrNotFound) {
		return min(w.c.o.settle, unknownJobPatience)
	}
	return w.c.o.settle
}

const unknownJobPatience = 5 * time.Second

// findImage returns the private image that a query means, nil if there is none
// yet, and an error if there are several or it cannot be asked.
func (c *Client) findImage(ctx context.Context, q imageQuery) (*ImageInfo, error) {
	switch {
	case q.id != "":
		img, err := c.ImageByID(ctx, q.id)
		if errors.Is(err, ErrNotFound) {
			return nil, nil
		}
		return img, err
	case q.name == "" || q.foreign == nil:
		return nil, nil // any image could have that name
	}
	found, err := c.ImagesByName(ctx, q.name)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	if len(found) > 1 {
		return nil, pkg.Errorf("%d images are named %q", len(found), q.name)
	}
	if why := q.foreign(found[0]); why != "" {
		return nil, pkg.Errorf("image %s has the name %q, but %s", found[0].ID, q.name, why)
	}
	return &found[0], nil
}

// WaitJob follows a job to its end: success with an image id, or a [*JobError].
// All its errors name the job. If ctx ends first, the job continues in the cloud
// and the error matches [ErrStoppedWaiting]. Answers that make no sense are waited
// out for the settle time, server errors until ctx ends. [WithEvents] is the only
// option.
func (c *Client) WaitJob(ctx context.Context, id string, opts ...ImportOption) (job *Job, err error) {
	o, err := newImportOptions(opts)
	if err == nil {
		err = o.only("WaitJob", "WithEvents")
	}
	if err != nil {
		return nil, err
	}
	if !jobID.MatchString(id) {
		return nil, pkg.Errorf("job %q: %w", id, ErrJobID)
	}
	events := newEvents(id, o.events)
	defer func() { events.finish(nil, err) }()
	warn := func(code WarningCode, format string, args ...any) {
		events.warn(Warning{code, fmt.Sprintf(format, args...)})
	}
	w := &jobWatch{c: c, id: id, tell: events.percent, warn: warn}
	return w.wait(c.observed(ctx, events))
}

// awaitActive waits until the image is usable. An image that is not listed for
// as long as the settle time is an error: its job has failed, or somebody has
// removed it.
func (c *Client) awaitActive(ctx context.Context, id string) error {
	seen := time.Now()
	for pause := c.o.pollMin; ; pause = min(pause*3/2, c.o.pollMax) {
		img, err := c.imageByID(ctx, id, cloud.NoLimit)
		switch {
		case err == nil && img.Status == ImageActive:
			return nil
		case err == nil && (img.Status == ImageKilled || img.Status == ImageDeleted):
			return pkg.Errorf("image %s: %w: it is %s", id, ErrImageFailed, img.Status)
		case err == nil:
			seen = time.Now()
		case ctx.Err() == nil && time.Since(seen) > c.o.settle:
			if errors.Is(err, ErrNotFound) {
				return pkg.Errorf("%w: the job that made it has failed, or it was removed", err)
			}
			return err
		}
		if serr := cloud.Sleep(ctx, jitter(pause)); serr != nil {
			return pkg.Errorf("%w: image %s is made but not active yet: %w", ErrStoppedWaiting, id, serr)
		}
	}
}

// observed returns a context whose retries are events and log lines.
func (c *Client) observed(ctx context.Context, events *eventState) context.Context {
	return cloud.Observe(ctx, func(r cloud.Retry) { c.retrying(ctx, events, r) })
}

func (c *Client) retrying(ctx context.Context, events *eventState, r cloud.Retry) {
	c.o.logger.LogAttrs(ctx, slog.LevelInfo, "retrying", retryAttrs(r)...)
	events.send(func(h EventHeader) Event {
		return Retrying{h, r.Op, int(r.Part), r.Attempt, r.Wait, r.Reason}
	})
}
