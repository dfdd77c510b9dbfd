package quickimport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

// verifyRemote reads the container's structures back from the bucket and
// compares them with what was written: an object that was replaced meanwhile,
// or that a store has damaged, is found before the service is asked to use it.
func (im *importer) verifyRemote(ctx context.Context, sum *zvhd2.Summary, sent *uploader.Result) error {
	if !im.o.verify {
		return nil
	}
	object, err := im.obs.OpenObject(ctx, sent.Bucket, sent.Key, uploader.WithReadAhead(0), uploader.WithBlockSize(64<<10))
	if err != nil {
		return err
	}
	defer object.Close()
	zr, err := zvhd2.NewReader(object, object.Size())
	if err != nil {
		return fmt.Errorf("reading the object back: %w", err)
	}
	defer zr.Close()
	got := zr.Info()
	if got.UUID != sum.UUID || got.Size != sum.DiskSize || got.FileSize != sum.FileSize || got.StoredBlocks != sum.StoredBlocks || !got.Created.Equal(sum.Created) {
		return fmt.Errorf("reading the object back: %w: it is not what was written", ErrProtocol)
	}
	return nil
}

// create asks for the image, unless an earlier run may have done so: then it
// finds out what became of that.
func (im *importer) create(ctx context.Context) error {
	if im.journal.rec.Stage == stageSubmitting && !im.o.resubmit {
		return im.resolve(ctx, errors.New("an earlier run ended while it asked for the image"))
	}
	if im.o.resubmit {
		if err := im.nameFree(ctx); err != nil {
			return err
		}
	}
	if err := im.journal.reach(ctx, stageSubmitting); err != nil {
		return err
	}
	id, err := im.CreateImage(ctx, im.img)
	if errors.Is(err, ErrUncertain) {
		return im.resolve(ctx, err)
	}
	if err != nil {
		// Nothing was done: the next run may ask again.
		return errors.Join(err, im.journal.reach(ctx, stageUploaded))
	}
	im.res.JobID = id
	return nil
}

// resolve looks for the image that a create call with an unknown outcome may
// have made. The name was free before that call, so an image of this name is
// the one that was asked for. Its job cannot be looked up: JobID stays empty.
func (im *importer) resolve(ctx context.Context, cause error) error {
	deadline := time.Now().Add(im.o.settle)
	for pause := im.o.pollMin; ; pause = min(pause*3/2, im.o.pollMax) {
		found, err := im.ImagesByName(ctx, im.img.Name)
		if err != nil && !transient(err) {
			return uncertain(im.img.Name, errors.Join(cause, err))
		}
		if len(found) == 1 {
			im.o.logger.LogAttrs(ctx, slog.LevelInfo, "found the image", slog.String("id", found[0].ID), slog.String("status", found[0].Status))
			im.res.ImageID = found[0].ID
			return nil
		}
		if len(found) > 1 {
			return uncertain(im.img.Name, fmt.Errorf("%w; %d images have this name", cause, len(found)))
		}
		if time.Now().After(deadline) || sleep(ctx, jitter(pause)) != nil {
			if errors.Is(cause, ErrUncertain) {
				return cause
			}
			return uncertain(im.img.Name, cause)
		}
	}
}

func (im *importer) follow(ctx context.Context) error {
	if im.res.JobID == "" {
		return im.awaitActive(ctx, im.res.ImageID)
	}
	job, err := im.waitJob(ctx, im.res.JobID, im.events.percent)
	if err != nil {
		return err
	}
	im.res.ImageID = job.Entities.ImageID
	return im.awaitActive(ctx, im.res.ImageID)
}

// cleanUp removes what the import has uploaded when it failed for certain, and
// says what stays where it did not. A durable import keeps its objects until
// the job has failed: running it again does not send them a second time.
func (im *importer) cleanUp(ctx context.Context, cause error) error {
	var failed *JobError
	jobFailed := errors.As(cause, &failed)
	stage := im.journal.rec.Stage
	switch {
	case !jobFailed && (stage == stageSubmitting || stage == stageSubmitted):
		return fmt.Errorf("%w (the object %s:%s was kept)", cause, im.img.Bucket, im.img.Key)
	case !jobFailed && im.journal.durable():
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	objects := im.objects
	if jobFailed {
		objects = im.keys() // an earlier run may have put them there
	}
	for _, key := range objects {
		if err := im.obs.DeleteObject(ctx, im.img.Bucket, key); err != nil {
			cause = errors.Join(cause, fmt.Errorf("and %s:%s could not be removed: %w", im.img.Bucket, key, err))
			continue
		}
		im.o.logger.LogAttrs(ctx, slog.LevelInfo, "removed", slog.String("key", key))
	}
	if err := im.journal.forget(ctx); err != nil {
		cause = errors.Join(cause, err)
	}
	return cause
}
