package quickimport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/fastimage/fastimage/internal/cloud"
	"github.com/fastimage/fastimage/internal/pkgerr"
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

// verifyRemote reads the container's structures back from the bucket and
// compares them with what was written: an object that was replaced meanwhile,
// or that a store has damaged, is found before the service is asked to use it.
// A RAW object has no structures: only sizes and checksums are compared.
func (im *importer) verifyRemote(ctx context.Context) error {
	if !im.opt.verify {
		return nil
	}
	object, err := im.obs.OpenObject(ctx, im.img.Bucket, im.img.Key)
	if err != nil {
		return wrap("verify", err)
	}
	defer object.Close()
	if got := object.Info(); got.Size != im.res.ObjectBytes || got.ETag != im.res.ETag {
		return im.notAsWritten("its size or checksum differs")
	}
	if im.format == FormatRaw {
		return im.verifyMF(ctx)
	}
	zr, err := zvhd2.NewReader(object, object.Size())
	if err != nil {
		return wrap("verify", err)
	}
	defer zr.Close()
	got := zr.Info()
	want := im.journal.rec.Container
	if want == nil || got.UUID != want.UUID || got.Size != want.DiskSize || want.StoredBlocks >= 0 && got.StoredBlocks != want.StoredBlocks || !got.Created.Equal(want.Created) {
		return im.notAsWritten("its header differs")
	}
	blocks := int64(0)
	for _, err := range zr.Blocks() { // each entry of the index is checked
		if err != nil {
			return wrap("verify", err)
		}
		blocks++
	}
	if blocks != got.StoredBlocks {
		return im.notAsWritten("its index lists a different number of blocks")
	}
	return nil
}

func (im *importer) verifyMF(ctx context.Context) error {
	info, err := im.obs.HeadObject(ctx, im.img.Bucket, mfKey(im.img.Key))
	if err == nil && info.Size == 0 {
		return im.notAsWritten("its bitmap file is empty")
	}
	return wrap("verify", err)
}

func (im *importer) notAsWritten(why string) error {
	return pkg.Errorf("verify: %w: %s:%s is not what was written: %s", ErrProtocol, im.img.Bucket, im.img.Key, why)
}

// create asks for the image, unless an earlier run may have done so: then it
// finds out what became of that.
func (im *importer) create(ctx context.Context) error {
	rec := &im.journal.rec
	if rec.Stage == stageSubmitting && !im.opt.resubmit {
		return im.resolve(ctx, uncertain(im.img.Name, pkg.Errorf("an earlier run ended while it asked for the image")))
	}
	if im.opt.resubmit {
		rec.Stage = stageVerified
		if err := im.nameFree(ctx); err != nil {
			return pkg.Errorf("%q: %w", im.img.Name, err)
		}
	}
	rec.Submitted = time.Now().UTC()
	if err := im.journal.reach(ctx, stageSubmitting); err != nil {
		return err
	}
	id, err := im.CreateImage(ctx, im.img)
	if errors.Is(err, ErrUncertain) {
		return im.resolve(ctx, err)
	}
	if err != nil {
		// Nothing was done: the next run may ask again.
		return errors.Join(err, im.journal.reach(ctx, stageVerified))
	}
	im.res.JobID = id
	return nil
}

// resolve looks for the image that a create call with an unknown outcome may
// have made. The name was free before that call, so an image of this name is
// the one that was asked for. It may be listed late: it is looked for until the
// settle time is over. Its job cannot be looked up: JobID stays empty.
func (im *importer) resolve(ctx context.Context, cause error) error {
	deadline := time.Now().Add(im.o.settle)
	for pause := im.o.pollMin; ; pause = min(pause*3/2, im.o.pollMax) {
		last := !time.Now().Before(deadline)
		img, err := im.lookFor(ctx, deadline)
		switch {
		case img != nil:
			im.o.logger.LogAttrs(ctx, slog.LevelInfo, "found the image", slog.String("id", img.ID), slog.String("status", string(img.Status)))
			im.res.ImageID = img.ID
			return nil
		case err != nil && !transient(err):
			return pkg.Errorf("%w; looking for the image: %w", cause, err)
		case last || ctx.Err() != nil:
			return errors.Join(cause, ctx.Err())
		}
		_ = cloud.Sleep(ctx, min(jitter(pause), max(time.Until(deadline), 0))) // the next look says so
	}
}

// lookFor looks for the image once, with repeated attempts until the deadline.
func (im *importer) lookFor(ctx context.Context, deadline time.Time) (*ImageInfo, error) {
	limited, cancel := context.WithDeadline(ctx, deadline.Add(im.o.apiTimeout))
	defer cancel()
	return im.findImage(limited, imageQuery{name: im.img.Name, foreign: im.foreign})
}

// clockSkew is how far the service's clock may be behind ours.
const clockSkew = 15 * time.Minute

// foreign says why an image of the right name is not the one that was asked
// for, "" if it may be.
func (im *importer) foreign(img ImageInfo) string {
	if origin := "file," + im.img.Bucket + ":" + im.img.Key; img.Origin != "" && img.Origin != origin {
		return fmt.Sprintf("was made of %q", img.Origin)
	}
	if !img.CreatedAt.IsZero() && img.CreatedAt.Before(im.journal.rec.Submitted.Add(-clockSkew)) {
		return "was made before, at " + img.CreatedAt.UTC().Format(time.RFC3339)
	}
	return ""
}

// follow waits for the job and the image.
func (im *importer) follow(ctx context.Context) error {
	if im.res.JobID != "" {
		w := &jobWatch{
			c: im.Client, id: im.res.JobID, tell: im.events.percent,
			image: imageQuery{id: im.res.ImageID, name: im.img.Name, foreign: im.foreign},
			warn: func(code WarningCode, format string, args ...any) {
				im.warned(ctx, Warning{code, fmt.Sprintf(format, args...)})
			},
		}
		job, err := w.wait(ctx)
		im.res.ImageID = w.image.id // known while the job runs
		if err != nil {
			return err
		}
		im.res.ImageID = job.Entities.ImageID
	}
	if im.opt.awaitActive || im.res.JobID == "" {
		if err := im.awaitActive(ctx, im.res.ImageID); err != nil {
			if im.res.JobID == "" {
				return err
			}
			return pkg.Errorf("job %s: %w", im.res.JobID, err)
		}
	}
	if im.opt.deleteObject && !im.object {
		im.removeObjects(ctx)
	}
	return nil
}

// removeObjects removes what was uploaded once the image is made. The image is
// there: an object that stays is a warning.
func (im *importer) removeObjects(ctx context.Context) {
	for _, key := range im.keys() {
		if err := im.obs.DeleteObject(ctx, im.img.Bucket, key); err != nil {
			im.warned(ctx, Warning{WarnLeftover, fmt.Sprintf("%s:%s could not be removed: %s", im.img.Bucket, key, pkgerr.Text(err))})
		}
	}
}

// keepObjects reports whether the uploaded objects must stay after an error: a
// job may still need them, or another run can use them.
func (im *importer) keepObjects(cause error) bool {
	if _, failed := errors.AsType[*JobError](cause); failed {
		return false
	}
	stage := im.journal.rec.Stage
	return stage == stageSubmitting || stage == stageSubmitted || errors.Is(cause, ErrFlowControl) ||
		im.journal.durable() && !errors.Is(cause, uploader.ErrSourceChanged)
}

// cleanUp removes what the import has uploaded when it failed for certain, and
// says what stays if it did not. A durable import keeps its objects until the
// job has failed or the source has changed: running it again does not send them
// a second time.
func (im *importer) cleanUp(ctx context.Context, cause error) error {
	if im.keepObjects(cause) {
		if passed(im.journal.rec.Stage, stageUploaded) {
			cause = pkg.Errorf("%w (the object %s:%s was kept)", cause, im.img.Bucket, im.img.Key)
		}
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	objects := im.objects
	if _, failed := errors.AsType[*JobError](cause); failed && !im.object {
		objects = im.keys() // an earlier run may have put them there
	}
	for _, key := range objects {
		if err := im.obs.DeleteObject(ctx, im.img.Bucket, key); err != nil {
			cause = pkg.Errorf("%w; %s:%s could not be removed: %w", cause, im.img.Bucket, key, err)
			continue
		}
		im.o.logger.LogAttrs(ctx, slog.LevelInfo, "removed", slog.String("key", key))
	}
	return errors.Join(cause, im.journal.forget(ctx))
}
