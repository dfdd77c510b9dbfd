package quickimport

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/rawimage/disk"
	"github.com/fastimage/fastimage/rawimage/guest"
	"github.com/fastimage/fastimage/uploader"
	"github.com/google/uuid"
)

// Result is what an import did.
type Result struct {
	ImportID     string        `json:"import_id"`              // that of the events; the same when the import is resumed
	ImageID      string        `json:"image_id"`               // "" when the job was not waited for
	ImageName    string        `json:"image_name"`             // as asked for
	JobID        string        `json:"job_id"`                 // "" when the answer to the create call was lost
	Bucket       string        `json:"bucket"`                 // of the object that the image was made of
	Key          string        `json:"key"`                    // of that object
	Format       Format        `json:"format"`                 // of that object
	OSVersion    string        `json:"os_version,omitempty"`   // as requested, "" for a data disk
	Architecture Architecture  `json:"architecture,omitempty"` // as requested; "" was left to the service
	Firmware     Firmware      `json:"firmware,omitempty"`     // as requested; "" was left to the service
	MinDisk      int           `json:"min_disk"`               // GB
	Guest        *guest.Report `json:"guest,omitempty"`        // what is on a system disk; nil if it was not examined
	SourceFormat string        `json:"source_format"`          // "raw", "qcow2", ...
	SourceBytes  int64         `json:"source_bytes"`           // size of the disk
	DataBytes    int64         `json:"data_bytes"`             // bytes of it in blocks that are not all zero
	ObjectBytes  int64         `json:"object_bytes"`           // size of the object, without the .mf
	WireBytes    int64         `json:"wire_bytes"`             // bytes of bodies sent to the bucket, retries and .mf included
	ETag         string        `json:"etag"`                   // of that object, without quotes
	Retries      int           `json:"retries"`                // attempts to send a part that failed and were made again
	Seconds      float64       `json:"seconds"`                // of all phases
	Phases       []PhaseTime   `json:"phases"`                 // in order
	Warnings     []Warning     `json:"warnings"`               // what to know about the image
}

// PhaseTime is how long a phase took.
type PhaseTime struct {
	Name    Phase   `json:"name"`    // the phase
	Seconds float64 `json:"seconds"` // how long it took
}

// cleanUpTimeout bounds the removal of objects after a failure; it has a time
// of its own because the import's context may have ended.
const cleanUpTimeout = time.Minute

// standardClass is the storage class that fast image creation takes.
const standardClass = "STANDARD"

// importer is one run of Import, Plan or Create.
type importer struct {
	*Client
	opt     *importOptions
	given   Image         // as the caller asked for it
	img     Image         // with what follows from the disk
	info    *disk.Info    // of the disk; nil if it cannot be inspected
	infoErr error         // the disk is truncated
	guest   *guest.Report // of a system disk; nil if it was not examined
	format  Format        // of the object

	osVersion string   // derived from the guest, "" if it cannot be
	closest   []string // what the region offers for a guest that it does not list

	object  bool // the source is an object that is in the bucket already
	src     *Content
	mf      *bitmapFile // of a RAW object, once it is made
	plan    *Plan
	res     *Result
	journal journal
	events  *eventState
	started time.Time
	objects []string // keys that the import has put into the bucket
}

// Import makes a private image of a disk image: it checks what can be checked
// (see [Client.Plan]), converts and uploads the disk in one pass, reads the
// object back, asks for the image and follows the job until the image is
// usable. A ZVHD2 file is uploaded as it is.
//
// An import that fails for certain removes the objects it has uploaded. They
// stay when the outcome cannot be known ([ErrUncertain]), when the job still
// runs, and when the import is durable ([WithStateDir], and a source with an
// identity): then the same call resumes it.
//
// If it fails after the service was asked for the image, the Result with what is
// known so far is returned beside the error; it is nil before that.
func (c *Client) Import(ctx context.Context, source Source, img Image, opts ...ImportOption) (*Result, error) {
	return c.run(ctx, opts, func(ctx context.Context, im *importer) (func() error, error) {
		return im.begin(ctx, source, img)
	})
}

// run is a call of Import or Create: begin opens the source and the record.
func (c *Client) run(ctx context.Context, opts []ImportOption, begin func(context.Context, *importer) (func() error, error)) (res *Result, err error) {
	im, err := c.newImporter(opts)
	if err != nil {
		return nil, err
	}
	defer func() { im.events.finish(res, err) }()
	defer c.share.enter()()
	ctx = c.observed(ctx, im.events)
	release, err := begin(ctx, im)
	if err != nil {
		return nil, err
	}
	return im.finish(ctx, release)
}

func (c *Client) newImporter(opts []ImportOption) (*importer, error) {
	o, err := newImportOptions(opts)
	if err != nil {
		return nil, err
	}
	return &importer{Client: c, opt: o, started: time.Now(), events: newEvents(uuid.NewString(), o.events)}, nil
}

// begin opens the source and the record of an import.
func (im *importer) begin(ctx context.Context, source Source, img Image) (func() error, error) {
	o := im.opt
	if err := o.check(im.o.store != nil); err != nil {
		return nil, err
	}
	src, err := openContent(ctx, im.Client, source, o.source)
	switch {
	case source == nil || errors.Is(err, fs.ErrInvalid) || errors.Is(err, ErrStreamUsed) || ctx.Err() != nil:
		err = wrap("source", cmp.Or(ctx.Err(), err))
	case err != nil:
		if img.Key == "" {
			img.Key = defaultKey(img.Name, o.format)
		}
		err = refused("file", source.Name(), img, err)
	case src.Format() == rawimage.FormatZVHD:
		err = refused("file", source.Name(), img, &anyimage.UnsupportedError{Name: source.Name(), Format: rawimage.FormatZVHD})
	default:
		err = o.checkSource(src)
	}
	if err != nil {
		if src != nil {
			err = errors.Join(err, src.Close())
		}
		return nil, err
	}
	im.src, im.format = src, o.format
	return im.open(ctx, img)
}

// checkSource refuses options that have no effect for a source.
func (o *importOptions) checkSource(src *Content) error {
	if o.format == FormatZVHD2 && src.format == rawimage.FormatZVHD2 {
		return o.without("", "has no effect for a ZVHD2 file, which is uploaded as it is", "WithLevel", "WithWorkers")
	}
	return nil
}

// refused joins what keeps a source from being opened, if anything, with what is
// wrong with the request, so that both are known at once. The cloud is not asked:
// a wrong path should not take the time of a network that does not answer.
func refused(field, name string, img Image, err error) error {
	var v validation
	if img.MinDisk == 0 {
		img.MinDisk = 1 // it would have been computed
	}
	img.validate(&v)
	if err != nil {
		v.problem(field, name, err)
	}
	return v.err()
}

func (im *importer) open(ctx context.Context, img Image) (release func() error, err error) {
	if err := im.examine(ctx, img); err != nil {
		return nil, errors.Join(err, im.src.Close())
	}
	im.given = im.withKey(img)
	im.img = im.complete(im.given)
	unlock, err := im.openJournal(ctx)
	if err != nil {
		return nil, errors.Join(err, im.src.Close())
	}
	im.res = im.journal.rec.Result
	im.settled()
	im.events.identify(im.res.ImportID)
	return func() error { return errors.Join(im.src.Close(), unlock()) }, nil
}

func (im *importer) finish(ctx context.Context, release func() error) (_ *Result, err error) {
	defer func() { err = errors.Join(err, release()) }()
	if err := im.run(ctx); err != nil {
		err = im.cleanUp(ctx, err)
		if im.asked() {
			return im.res, err
		}
		return nil, err
	}
	return im.res, nil
}

// asked reports whether the service was asked for the image.
func (im *importer) asked() bool {
	s := im.journal.rec.Stage
	return s == stageSubmitting || s == stageSubmitted || s == stageFinished
}

// withKey fills in what does not depend on the disk.
func (im *importer) withKey(img Image) Image {
	img = img.withDefaults()
	if img.Key == "" {
		img.Key = defaultKey(img.Name, im.format)
	}
	return img
}

// settled takes what an earlier run of the same import derived from the disk: a
// later version, or a list that cannot be read today, may derive something else.
func (im *importer) settled() {
	if im.journal.resumed {
		im.img.OSVersion, im.img.Architecture, im.img.HWFirmwareType, im.img.MinDisk = im.res.OSVersion, im.res.Architecture, im.res.Firmware, im.res.MinDisk
	}
}

// complete fills in what the import can derive from the disk.
func (im *importer) complete(img Image) Image {
	if img.Type != TypeData {
		img = im.fromDisk(img)
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
	if stage := im.journal.rec.Stage; im.journal.resumed && stage != stagePlanned {
		im.resumes(stage)
	}
	for _, s := range im.steps() {
		if passed(im.journal.rec.Stage, s.done) {
			continue
		}
		begin := time.Now()
		im.events.start(s.phase)
		err := s.do(ctx)
		im.events.end(s.phase, time.Since(begin), err)
		if err != nil {
			return err
		}
		im.res.addPhase(PhaseTime{s.phase, time.Since(begin).Seconds()})
		im.res.Seconds = spent + time.Since(im.started).Seconds()
		if err := im.journal.reach(ctx, s.done); err != nil {
			return err
		}
	}
	return nil
}

// resumes reports what an earlier run has left.
func (im *importer) resumes(stage string) {
	sent := int64(0)
	if passed(stage, stageUploaded) {
		sent = im.res.ObjectBytes
	}
	im.events.send(func(h EventHeader) Event { return Resumed{h, stage, sent} })
}

// step is a part of an import; done is the stage that it leads to.
type step struct {
	phase Phase
	done  string
	do    func(context.Context) error
}

func (im *importer) steps() []step {
	steps := []step{{PhasePreflight, stageUploading, im.preflight}}
	if im.object {
		steps[0].done = stageVerified
	} else {
		steps = append(steps, step{PhaseUpload, stageUploaded, im.upload}, step{PhaseVerify, stageVerified, im.verifyRemote})
	}
	steps = append(steps, step{PhaseCreate, stageSubmitted, im.create})
	if im.opt.wait {
		steps = append(steps, step{PhaseJob, stageFinished, im.follow})
	}
	return steps
}

// addPhase replaces what an earlier run noted of the same phase.
func (r *Result) addPhase(t PhaseTime) {
	r.Phases = append(slices.DeleteFunc(r.Phases, func(o PhaseTime) bool { return o.Name == t.Name }), t)
}

// recheckUpload repeats the upload if what an earlier run uploaded is missing. If
// there is another object by now it is somebody else's, and the rules for a new
// import apply.
func (im *importer) recheckUpload(ctx context.Context) error {
	if s := im.journal.rec.Stage; im.object || s != stageUploaded && s != stageVerified {
		return nil
	}
	for i, key := range im.keys() {
		info, err := im.obs.HeadObject(ctx, im.img.Bucket, key)
		switch missing := errors.Is(err, uploader.ErrNoSuchKey); {
		case err != nil && !missing:
			return wrap("object", err)
		case missing:
			im.journal.rec.Stage = stageUploading
		case i == 0 && (info.Size != im.res.ObjectBytes || info.ETag != im.res.ETag):
			im.journal.rec.Stage, im.journal.resumed = stageUploading, false
			return nil
		}
	}
	return nil
}

// finishedBefore answers an import that an earlier run has ended, as long as
// its image is there.
func (im *importer) finishedBefore(ctx context.Context) error {
	_, err := im.ImageByID(ctx, im.res.ImageID)
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	// The image was removed meanwhile. The object may be there still: then it
	// need not be sent again.
	im.journal.rec.Stage = stageUploaded
	im.res.ImageID, im.res.JobID, im.res.WireBytes, im.res.Retries, im.res.Seconds, im.res.Phases = "", "", 0, 0, 0, nil
	return im.run(ctx)
}

// wrap names what an error of another package is about; nil stays nil.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return pkg.Errorf("%s: %w", what, err)
}

func (im *importer) keys() []string {
	if im.format == FormatRaw {
		return []string{im.img.Key, mfKey(im.img.Key)}
	}
	return []string{im.img.Key}
}
