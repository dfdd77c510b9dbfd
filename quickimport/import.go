package quickimport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

// Result is what an import did.
type Result struct {
	ImageID     string  `json:"image_id"`
	ImageName   string  `json:"image_name"`
	JobID       string  `json:"job_id"`
	Bucket      string  `json:"bucket"`
	Key         string  `json:"key"`
	Format      Format  `json:"format"`
	SourceBytes int64   `json:"source_bytes"` // size of the disk
	DataBytes   int64   `json:"data_bytes"`   // what of it lies in blocks that are not all zero
	ObjectBytes int64   `json:"object_bytes"` // size of the object, without the .mf
	WireBytes   int64   `json:"wire_bytes"`   // bytes of bodies sent to the bucket, retries and .mf included
	Seconds     float64 `json:"seconds"`
	Phases      []Timed `json:"phases"`
}

// Timed is how long a phase took.
type Timed struct {
	Name    Phase   `json:"name"`
	Seconds float64 `json:"seconds"`
}

// cleanUpTimeout bounds the removal of objects after a failure; it has a time
// of its own because the import's context may have ended.
const cleanUpTimeout = time.Minute

// importer is one run of Import.
type importer struct {
	*Client
	img     Image
	src     *rawimage.Image
	res     *Result
	journal journal
	events  *eventState
	started time.Time
	objects []string // keys that the import has put into the bucket
}

// Import makes a private image of the RAW disk image in the file or block
// device filename: it checks what can be checked, sends the disk in the
// client's format in one pass, asks for the image and follows the job until
// the image is usable.
//
// An import that fails for certain removes the objects it has uploaded. They
// stay when the outcome cannot be known ([ErrUncertain]) or the job still runs.
func (c *Client) Import(ctx context.Context, filename string, img Image) (_ *Result, err error) {
	src, err := rawimage.Open(filename)
	if err != nil {
		return nil, fmt.Errorf("quickimport: %w", err)
	}
	defer src.Close()
	im := &importer{Client: c, src: src, started: time.Now(), events: &eventState{emit: c.emit}}
	im.img = im.complete(img)
	release, err := im.openJournal(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, release()) }()
	im.res = im.journal.rec.Result
	if err := im.run(ctx); err != nil {
		return nil, im.cleanUp(ctx, err)
	}
	return im.res, nil
}

// complete fills in what Import can know by itself.
func (im *importer) complete(img Image) Image {
	img = img.withDefaults()
	if img.Key == "" {
		img.Key = defaultKey(img.Name, im.o.format)
	}
	if img.MinDisk == 0 {
		img.MinDisk = img.defaultMinDisk(im.src.Size())
	}
	return img
}

// run goes through the steps from where the record stands.
func (im *importer) run(ctx context.Context) error {
	if im.journal.rec.Stage == stageFinished {
		return im.finishedBefore(ctx)
	}
	if err := im.recheckUpload(ctx); err != nil {
		return err
	}
	spent := im.res.Seconds
	steps := []struct {
		phase Phase
		done  string // the stage after it
		do    func(context.Context) error
	}{
		{PhasePreflight, stagePlanned, im.preflight},
		{PhaseUpload, stageUploaded, im.upload},
		{PhaseCreate, stageSubmitted, im.create},
		{PhaseJob, stageFinished, im.follow},
	}
	for _, s := range steps {
		if passed(im.journal.rec.Stage, s.done) {
			continue
		}
		begin := time.Now()
		im.events.start(s.phase)
		if err := s.do(ctx); err != nil {
			return err
		}
		im.res.addPhase(Timed{s.phase, time.Since(begin).Seconds()})
		im.res.Seconds = spent + time.Since(im.started).Seconds()
		if err := im.journal.reach(ctx, s.done); err != nil {
			return err
		}
	}
	return nil
}

// addPhase replaces what an earlier run noted of the same phase.
func (r *Result) addPhase(t Timed) {
	r.Phases = append(slices.DeleteFunc(r.Phases, func(o Timed) bool { return o.Name == t.Name }), t)
}

// recheckUpload lets the upload be done again when what an earlier run has
// uploaded is gone.
func (im *importer) recheckUpload(ctx context.Context) error {
	if im.journal.rec.Stage != stageUploaded {
		return nil
	}
	info, err := im.obs.HeadObject(ctx, im.img.Bucket, im.img.Key)
	if errors.Is(err, uploader.ErrNoSuchKey) || err == nil && info.Size != im.res.ObjectBytes {
		im.journal.rec.Stage = stagePlanned
		return nil
	}
	return wrap("object", err)
}

// passed tells whether an import at stage has done what leads to done. A
// planned one goes through preflight again: it costs a second, and the world
// may have changed.
func passed(stage, done string) bool {
	order := []string{stagePlanned, stageUploaded, stageSubmitting, stageSubmitted, stageFinished}
	return stage != stagePlanned && slices.Index(order, stage) >= slices.Index(order, done)
}

// finishedBefore answers an import that an earlier run has ended, as long as
// its image is there.
func (im *importer) finishedBefore(ctx context.Context) error {
	_, err := im.ImageByID(ctx, im.res.ImageID)
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	fresh, err := im.freshRecord()
	if err != nil {
		return err
	}
	im.journal.rec, im.res = fresh, fresh.Result
	return im.run(ctx)
}

// preflight refuses what is known to fail, before anything is sent.
func (im *importer) preflight(ctx context.Context) error {
	var v validation
	if err := im.img.Validate(); err != nil {
		v.problems = err.(*ValidationError).Problems
	}
	size := im.src.Size()
	v.check(size <= MaxImageSize, "file", im.src.Name(), "IMG.0059", fmt.Sprintf("has %d bytes: fast image creation takes at most 1 TB (%d)", size, int64(MaxImageSize)))
	gb := (size + 1<<30 - 1) >> 30
	v.check(int64(im.img.MinDisk) >= gb || im.img.MinDisk < 1 || size > MaxImageSize, "min_disk", strconv.Itoa(im.img.MinDisk), "IMG.0055", fmt.Sprintf("must be at least the disk's size, %d GB", gb))
	if err := v.err(); err != nil {
		return err
	}
	// A disk that ends before its partition table says so was cut short on its way here.
	if _, err := im.src.Inspect(ctx); err != nil {
		return wrap("source", err)
	}
	if _, err := im.ProjectID(ctx); err != nil {
		return err
	}
	if err := im.nameFree(ctx); err != nil {
		return err
	}
	return im.checkBucket(ctx)
}

func (im *importer) nameFree(ctx context.Context) error {
	taken, err := im.ImagesByName(ctx, im.img.Name)
	if err == nil && len(taken) > 0 {
		err = fmt.Errorf("quickimport: %w: %q is image %s: choose another name or remove it", ErrNameTaken, im.img.Name, taken[0].ID)
	}
	return err
}

// checkBucket finds a missing bucket, one in another region and an object that
// would be replaced.
func (im *importer) checkBucket(ctx context.Context) error {
	info, err := im.obs.CheckBucket(ctx, im.img.Bucket, "STANDARD")
	if err == nil && info.Region == "" {
		info.Region, err = im.obs.BucketLocation(ctx, im.img.Bucket)
		if err == nil && info.Region != "" && info.Region != im.o.region {
			err = fmt.Errorf("%w: %s is in %s, the image service in %s (IMG.0058)", uploader.ErrWrongRegion, im.img.Bucket, info.Region, im.o.region)
		}
	}
	if err != nil || im.o.overwrite || im.journal.resumed {
		return wrap("bucket", err)
	}
	for _, key := range im.keys() {
		_, err := im.obs.HeadObject(ctx, im.img.Bucket, key)
		if err == nil {
			return fmt.Errorf("quickimport: %w: %s:%s: choose another key, remove it, or allow it to be replaced", ErrObjectExists, im.img.Bucket, key)
		}
		if !errors.Is(err, uploader.ErrNoSuchKey) {
			return wrap("object", err)
		}
	}
	return nil
}

// wrap names what an error of another package is about; nil stays nil.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("quickimport: %s: %w", what, err)
}

func (im *importer) keys() []string {
	if im.o.format == FormatRaw {
		return []string{im.img.Key, mfKey(im.img.Key)}
	}
	return []string{im.img.Key}
}

func (im *importer) upload(ctx context.Context) error {
	up, err := im.uploader()
	if err != nil {
		return err
	}
	send := im.sendZVHD2
	if im.o.format == FormatRaw {
		send = im.sendRaw
	}
	if err := send(ctx, up); err != nil {
		return wrap("upload", err)
	}
	return wrap("source", im.src.CheckUnchanged())
}

func (im *importer) uploader() (*uploader.Uploader, error) {
	opts := []uploader.Option{uploader.WithProgress(func(p uploader.Progress) { im.events.sent(p.Wire) })}
	if im.o.concurrency > 0 {
		opts = append(opts, uploader.WithConcurrency(im.o.concurrency))
	}
	if im.journal.durable() {
		rec := im.journal.rec
		opts = append(opts, uploader.WithStore(im.journal.store), uploader.WithFingerprint(fmt.Sprintf("%+v %+v %s %s", rec.Source, rec.Request, rec.UUID, rec.Created)))
	}
	if im.o.partSize > 0 {
		opts = append(opts, uploader.WithPartSize(im.o.partSize))
	}
	up, err := uploader.New(im.obs, opts...)
	if err != nil {
		return nil, fmt.Errorf("quickimport: %w", err)
	}
	return up, nil
}

// sendZVHD2 encodes straight into the upload: the pipe is all that lies
// between them, so the slower of the two sets the pace of both.
func (im *importer) sendZVHD2(ctx context.Context, up *uploader.Uploader) error {
	rec := &im.journal.rec
	opts := []zvhd2.Option{zvhd2.WithLevel(im.o.level), zvhd2.WithUUID(rec.UUID), zvhd2.WithTimestamp(rec.Created), zvhd2.WithProgress(func(p zvhd2.Progress) {
		im.events.read(p.Done, p.Total, p.Skipped)
	})}
	if im.o.workers > 0 {
		opts = append(opts, zvhd2.WithWorkers(im.o.workers))
	}
	most, err := im.maxObject()
	if err != nil {
		return err
	}
	pr, pw := io.Pipe()
	var sum *zvhd2.Summary
	var sent *uploader.Result
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		sum, err = zvhd2.Encode(gctx, pw, im.src, im.src.Size(), opts...)
		pw.CloseWithError(err) // nil is the end of the stream
		return err
	})
	g.Go(func() (err error) {
		sent, err = up.UploadStream(gctx, im.img.Bucket, im.img.Key, pr, most)
		pr.CloseWithError(err)
		return err
	})
	err = errors.Join(g.Wait(), ctx.Err())
	if sent != nil {
		im.objects = append(im.objects, im.img.Key)
	}
	if err != nil {
		return err
	}
	if sent.ObjectBytes != sum.FileSize {
		return fmt.Errorf("the object has %d bytes, the container %d", sent.ObjectBytes, sum.FileSize)
	}
	im.res.DataBytes, im.res.ObjectBytes, im.res.WireBytes = sum.DataBytes, sent.ObjectBytes, sent.WireBytes
	return im.verifyRemote(ctx, sum, sent)
}

// maxObject bounds the container's size by the blocks that the source's
// extents touch: a hole cannot become a record. So the parts of a sparse disk,
// and the memory they take, are small however large the disk is; an empty one
// still has its tables.
func (im *importer) maxObject() (int64, error) {
	const block = zvhd2.BlockSize
	touched, last := int64(0), int64(-1)
	for e, err := range im.src.Extents() {
		if err != nil {
			return 0, err
		}
		first := max(e.Offset/block, last+1)
		last = (e.End() - 1) / block
		touched += max(last-first+1, 0)
	}
	// MaxSize(0) counts header and footers, the bitmap has a bit per block of the disk.
	tables := (im.src.Size()/block/8 + 4096 + 4095) / 4096 * 4096
	return min(zvhd2.MaxSize(im.src.Size()), zvhd2.MaxSize(touched*block)+tables), nil
}
