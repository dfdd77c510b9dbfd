package quickimport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/fastimage/fastimage/uploader"
)

// recordVersion is the version of the record's form; another one is not read.
const recordVersion = 3

// Stages of an import, in order. Between submitting and submitted lies the one
// gap in which it cannot be known from the record alone whether the service
// was asked for the image.
const (
	stagePlanned    = "planned"
	stageUploading  = "uploading"
	stageUploaded   = "uploaded"
	stageVerified   = "verified" // read back from the bucket
	stageSubmitting = "submitting"
	stageSubmitted  = "submitted"
	stageFinished   = "finished"
)

var stages = []string{stagePlanned, stageUploading, stageUploaded, stageVerified, stageSubmitting, stageSubmitted, stageFinished}

// passed reports whether an import at stage has done what leads to done. One that
// has not uploaded all goes through preflight again: it costs a second, and
// the world may have changed.
func passed(stage, done string) bool {
	return stage != stagePlanned && stage != stageUploading && slices.Index(stages, stage) >= slices.Index(stages, done)
}

// record is the durable state of an import. It holds no secret. The same
// source and request with the same UUID and time give the same container, byte
// for byte, so that an upload can be resumed by encoding again.
type record struct {
	Version int         `json:"version"`
	Stage   string      `json:"stage"`
	Source  sourceID    `json:"source"`
	Request recordedAsk `json:"request"`
	UUID    uuid.UUID   `json:"uuid"`
	Created time.Time   `json:"created"`
	Result  *Result     `json:"result"` // what is known so far

	Container *containerFacts `json:"container,omitempty"` // what a ZVHD2 was when it was written
	Submitted time.Time       `json:"submitted,omitzero"`  // when the service was asked, by this machine's clock
}

// containerFacts are what an uploaded container is compared by.
type containerFacts struct {
	UUID         uuid.UUID `json:"uuid"`
	DiskSize     int64     `json:"disk_size"`
	StoredBlocks int64     `json:"stored_blocks"`
	Created      time.Time `json:"created"`
}

// sourceID identifies the content of a source.
type sourceID struct {
	Identity string `json:"identity"`
	Size     int64  `json:"size"` // of the disk
}

// recordedAsk is what decides the object's bytes and the image.
type recordedAsk struct {
	Image  createBody `json:"image"`
	Format Format     `json:"format"`
	Level  string     `json:"level"`
}

// journal is an import's record in its store. The zero journal, without a
// store, keeps the record in memory alone.
type journal struct {
	store uploader.Store
	name  string
	rec   record

	resumed bool // an earlier run of the same import left the record
}

// openJournal takes the lock of the target and reads what an earlier run left.
func (im *importer) openJournal(ctx context.Context) (release func() error, err error) {
	j := &im.journal
	j.store, j.name = im.o.store, im.journalName()
	fresh := im.freshRecord()
	j.rec = fresh
	if im.src.in.Identity == "" {
		j.store = nil // nobody could tell whether the record is of this source
	}
	if j.store == nil {
		return func() error { return nil }, nil
	}
	release, err = j.store.Lock(ctx, j.name)
	if err != nil {
		return nil, wrap("state", err)
	}
	if err := j.load(ctx, fresh); err != nil {
		return nil, errors.Join(err, release())
	}
	return release, nil
}

func (im *importer) journalName() string {
	sum := sha256.Sum256([]byte(strings.Join([]string{"import", im.o.ims, im.o.obs, im.o.region, im.img.Bucket, im.img.Key, im.img.Name}, "\x00")))
	return hex.EncodeToString(sum[:16])
}

func (im *importer) freshRecord() record {
	return record{
		Version: recordVersion, Stage: stagePlanned, Source: sourceID{im.src.in.Identity, im.src.Size()},
		Request: recordedAsk{Image: im.given.body(), Format: im.format, Level: fmt.Sprint(im.opt.level)},
		UUID:    uuid.New(), Created: time.Now().UTC().Truncate(time.Second),
		Result: &Result{ImportID: uuid.NewString(), ImageName: im.img.Name, Bucket: im.img.Bucket, Key: im.img.Key, Format: im.format,
			OSVersion: im.img.OSVersion, Architecture: im.img.Architecture, Firmware: im.img.HWFirmwareType, Guest: im.guest, MinDisk: im.img.MinDisk,
			SourceFormat: string(im.src.Format()), SourceBytes: im.src.Size(), Warnings: []Warning{}},
	}
}

// load takes an earlier run's record over where it is of the same import. One
// of another source or request is dropped while nothing was submitted, and an
// error after that.
func (j *journal) load(ctx context.Context, fresh record) error {
	data, err := j.store.Load(ctx, j.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return wrap("state", err)
	}
	var old record
	if err := json.Unmarshal(data, &old); err != nil || old.Version != recordVersion || old.Result == nil {
		return pkg.Errorf("state: %w: the record is damaged or of another version: look whether the image was made, then remove the state directory's entry %s", ErrState, j.name)
	}
	same := old.same(fresh)
	switch {
	case same || old.Stage == stageFinished:
		if same {
			j.rec, j.resumed = old, true
		}
		return nil
	case old.Stage == stageSubmitting || old.Stage == stageSubmitted:
		return pkg.Errorf("state: %w: an image named %q was asked for from another source or with other settings (job %q) and has not ended: run that import to its end, or choose another name", ErrState, fresh.Request.Image.Name, old.Result.JobID)
	}
	return nil // nothing was submitted: this import starts over
}

func (r record) same(o record) bool {
	a, errA := json.Marshal([]any{r.Source, r.Request})
	b, errB := json.Marshal([]any{o.Source, o.Request})
	return errA == nil && errB == nil && string(a) == string(b)
}

// reach makes a stage durable.
func (j *journal) reach(ctx context.Context, stage string) error {
	j.rec.Stage = stage
	if j.store == nil {
		return nil
	}
	data, err := json.MarshalIndent(j.rec, "", "  ")
	if err == nil {
		// What was reached has to be kept even when the caller has just given up.
		err = j.store.Save(context.WithoutCancel(ctx), j.name, data)
	}
	return wrap("state", err)
}

// forget removes the record of an import that failed for certain.
func (j *journal) forget(ctx context.Context) error {
	if j.store == nil {
		return nil
	}
	return wrap("state", j.store.Remove(ctx, j.name))
}

// durable reports whether the import can be resumed.
func (j *journal) durable() bool { return j.store != nil }
