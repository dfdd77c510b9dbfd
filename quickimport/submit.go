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
// A RAW object has no structures: sizes and checksum have to do.
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
		return im.notAsWritten("its size or checksum is another")
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
		return im.notAsWritten("its header is another")
	}
	blocks := int64(0)
	for _, err := range zr.Blocks() { // each entry of the index is checked
		if err != nil {
			return wrap("verify", err)
		}
		blocks++
	}
	if blocks != got.StoredBlocks {
		return im.notAsWritten("its index lists other blocks")
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
	return fmt.Errorf("quickimport: verify: %w: %s:%s is not what was written: %s; see who else writes to this key, then run the import again", ErrProtocol, im.img.Bucket, im.img.Key, why)
}

// create asks for the image, unless an earlier run may have done so: then it
// finds out what became of that.
func (im *importer) create(ctx context.Context) error {
	rec := &im.journal.rec
	if rec.Stage == stageSubmitting && !im.opt.resubmit {
		return im.resolve(ctx, errors.New("an earlier run ended while it asked for the image"))
	}
	if im.opt.resubmit {
		rec.Stage = stageVerified
		if err := im.nameFree(ctx); err != nil {
			return fmt.Errorf("quickimport: %q: %w", im.img.Name, err)
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
// the one that was asked for. Its job cannot be looked up: JobID stays empty.
func (im *importer) resolve(ctx context.Context, cause error) error {
	deadline := time.Now().Add(im.o.settle)
	for pause := im.o.pollMin; ; pause = min(pause*3/2, im.o.pollMax) {
		found, err := im.ImagesByName(ctx, im.img.Name)
		if err != nil && !transient(err) {
			return uncertain(im.img.Name, errors.Join(cause, err))
		}
		if len(found) == 1 {
			if why := im.foreign(found[0]); why != "" {
				return uncertain(im.img.Name, fmt.Errorf("%w; image %s has this name, but %s", cause, found[0].ID, why))
			}
			im.o.logger.LogAttrs(ctx, slog.LevelInfo, "found the image", slog.String("id", found[0].ID), slog.String("status", string(found[0].Status)))
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

// clockSkew is how far the service's clock may be behind ours.
const clockSkew = 15 * time.Minute

// foreign says why an image of the right name is not the one that was asked
// for, "" if nothing speaks against it.
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
		job, err := im.waitJob(ctx, im.res.JobID, im.events.percent)
		if err != nil {
			return err
		}
		im.res.ImageID = job.Entities.ImageID
	}
	if im.opt.awaitActive || im.res.JobID == "" {
		if err := im.awaitActive(ctx, im.res.ImageID); err != nil {
			return err
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
			im.warned(fmt.Sprintf("%s:%s could not be removed: %s", im.img.Bucket, key, bare(err)))
		}
	}
}

// cleanUp removes what the import has uploaded when it failed for certain, and
// says what stays where it did not. A durable import keeps its objects until
// the job has failed or the source has changed: running it again does not send
// them a second time.
func (im *importer) cleanUp(ctx context.Context, cause error) error {
	var failed *JobError
	jobFailed := errors.As(cause, &failed)
	stage := im.journal.rec.Stage
	switch {
	case !jobFailed && (stage == stageSubmitting || stage == stageSubmitted):
		return fmt.Errorf("%w (the object %s:%s was kept)", cause, im.img.Bucket, im.img.Key)
	case !jobFailed && im.journal.durable() && !errors.Is(cause, uploader.ErrSourceChanged):
		return cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	objects := im.objects
	if jobFailed && !im.object {
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
