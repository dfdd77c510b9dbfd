package quickimport

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/google/uuid"

	"github.com/fastimage/fastimage/internal/pkgerr"
	"github.com/fastimage/fastimage/uploader"
)

// Finding is how a check of [Client.Doctor] ended.
type Finding string

// Findings.
const (
	FindingOK      Finding = "ok"      // as expected
	FindingWarning Finding = "warning" // imports work all the same; Consequence says how
	FindingFailed  Finding = "failed"  // imports will fail
	FindingUnknown Finding = "unknown" // could not be found out
)

// Check is one line of a [DoctorReport].
type Check struct {
	Name        string  `json:"name"`        // what was tested, in a few words
	Finding     Finding `json:"finding"`     // how it ended
	Detail      string  `json:"detail"`      // what was found
	Consequence string  `json:"consequence"` // what follows from it, "" if nothing does or Err says it
	Err         error   `json:"-"`           // the error that Detail describes, nil if there was none
}

// DoctorReport is what [Client.Doctor] found.
type DoctorReport struct {
	Bucket string  `json:"bucket"` // that was tested
	Prefix string  `json:"prefix"` // of the objects that were made and removed again
	Checks []Check `json:"checks"` // in the order in which they were made
}

// OK reports that no check failed. What could not be found out does not count.
func (r *DoctorReport) OK() bool {
	for _, c := range r.Checks {
		if c.Finding == FindingFailed {
			return false
		}
	}
	return true
}

// doctor is one run of Doctor.
type doctor struct {
	*Client
	trial          []ImportOption // nil: no image is made
	opt            *importOptions // of the trial
	bucket, prefix string
	report         *DoctorReport
	encrypted      bool
	touched        bool   // something may be in the bucket
	image          string // name of the image that may have been made; "": none
}

// doctorData is the size of the object that is uploaded in parts: two of the
// least size of a part, one of random bytes and one of zeros, and a short one.
const doctorData = 2*uploader.MinPartSize + 1<<20

// Doctor tests, in a scratch prefix of a real bucket, what the documents
// leave open and what depends on the installation, and says what follows from
// each finding. [WithTrialImport] has it make and remove a small image as well.
// It removes everything that it has made; an error is only what kept it from
// that, an option that cannot be used, or the end of ctx.
func (c *Client) Doctor(ctx context.Context, bucket string, opts ...DoctorOption) (*DoctorReport, error) {
	d := &doctor{Client: c, bucket: bucket, prefix: "fastimage-doctor/" + uuid.NewString() + "/"}
	d.report = &DoctorReport{Bucket: bucket, Prefix: d.prefix}
	for _, opt := range opts {
		if err := opt(d); err != nil {
			return d.report, err
		}
	}
	err := d.run(ctx, d.opt != nil)
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	return d.report, errors.Join(err, wrap("doctor", d.cleanUp(clean)))
}

// A DoctorOption configures [Client.Doctor].
type DoctorOption func(*doctor) error

// WithTrialImport makes Doctor import a small data disk with these options, and
// remove the image again. The options are those of [Client.Import] that concern
// the upload, such as [WithFormat]. Default: no image is made.
func WithTrialImport(opts ...ImportOption) DoctorOption {
	return func(d *doctor) (err error) {
		d.trial = opts
		if d.opt, err = newImportOptions(opts); err != nil {
			return err
		}
		return d.opt.only("a trial import", "WithFormat", "WithLevel", "WithWorkers", "WithConcurrency", "WithPartSize", "WithBitmapLayout", "WithRemoteVerification")
	}
}

func (d *doctor) run(ctx context.Context, tryImport bool) error {
	if _, err := d.creds.Credentials(ctx); err != nil {
		d.fails("credentials", err)
		return nil
	}
	d.checkServices(ctx)
	if d.checkBucket(ctx) && d.checkPut(ctx) {
		d.checkDigest(ctx)
		d.checkCopy(ctx)
		d.checkMultipart(ctx)
		if ranges := d.checkRanges(ctx); tryImport && !ranges && d.opt.verify && d.opt.format == FormatZVHD2 {
			d.add("import", FindingFailed, "not tried, since it could not be read back", "without the verification of uploads it would work")
		} else if tryImport && ctx.Err() == nil {
			d.checkImport(ctx)
		}
	}
	return wrap("doctor", ctx.Err())
}

func (d *doctor) add(name string, f Finding, detail, consequence string) {
	d.report.Checks = append(d.report.Checks, Check{Name: name, Finding: f, Detail: detail, Consequence: consequence})
}

func (d *doctor) ok(name, detail string) { d.add(name, FindingOK, detail, "") }

// fails notes a check without which no import works, and that ended with an
// error: what cannot be reached fails.
func (d *doctor) fails(name string, err error) { d.note(name, FindingFailed, err) }

// inconclusive notes a check that ended with an error which says something about
// the question only if it is definite.
func (d *doctor) inconclusive(name string, err error) {
	if definite(err) {
		d.note(name, FindingFailed, err)
	} else {
		d.note(name, FindingUnknown, err)
	}
}

func (d *doctor) note(name string, finding Finding, err error) {
	d.report.Checks = append(d.report.Checks, Check{Name: name, Finding: finding, Detail: pkgerr.Text(err), Err: err})
}

// checkServices asks the image service and the identity service.
func (d *doctor) checkServices(ctx context.Context) {
	project, err := d.ProjectID(ctx)
	if err != nil {
		d.fails("project", err)
	} else {
		d.ok("project", project)
	}
	creds, _ := d.creds.Credentials(ctx) // asked for before
	how := "AK/SK signature accepted"
	if creds.Token != "" {
		how = "token accepted"
	}
	if _, err := d.ImagesByName(ctx, d.prefix); err != nil {
		d.fails("signature", err)
	} else {
		d.ok("signature", how)
	}
	switch q, err := d.ImageQuota(ctx); {
	case err != nil:
		d.add("quota", FindingUnknown, pkgerr.Text(err), "an exhausted quota is reported only by the create call")
	case q.Limit >= 0 && q.Used >= q.Limit:
		d.add("quota", FindingFailed, fmt.Sprintf("%d of %d images", q.Used, q.Limit), "remove images, or ask for a larger quota")
	default:
		d.ok("quota", fmt.Sprintf("%d of %d images", q.Used, q.Limit))
	}
}

// checkBucket looks at the bucket; false when nothing can be tried in it.
func (d *doctor) checkBucket(ctx context.Context) bool {
	style := "virtual-hosted"
	if d.obs.PathStyle() {
		style = "path style"
	}
	info, err := d.obs.HeadBucket(ctx, d.bucket)
	if errors.Is(err, uploader.ErrAccessDenied) {
		// The answer to HEAD has no body: that of GET tells a wrong secret key
		// from a missing right.
		if _, lerr := d.obs.BucketLocation(ctx, d.bucket); errors.Is(lerr, uploader.ErrCredentials) {
			err = lerr
		}
	}
	if err != nil {
		d.fails("bucket", err)
		return false
	}
	d.ok("bucket", "answers, addressed "+style)
	region, err := d.obs.BucketLocation(ctx, d.bucket)
	if region == "" {
		region = info.Region
	}
	switch {
	case region == "" && err != nil:
		d.add("region", FindingUnknown, pkgerr.Text(err), "a bucket in another region is reported only by the create call")
	case region != "" && region != d.o.region:
		d.add("region", FindingFailed, fmt.Sprintf("the bucket is in %s, the image service in %s", region, d.o.region), "use a bucket in the region of the image service")
	case region == "":
		d.add("region", FindingUnknown, "the service does not say", "a bucket in another region is reported only by the create call")
	default:
		d.ok("region", region)
	}
	d.class("bucket class", info.StorageClass)
	return true
}

func (d *doctor) class(name, class string) {
	switch class {
	case standardClass:
		d.ok(name, class)
	case "":
		d.ok(name, "not reported, which means STANDARD")
	default:
		d.add(name, FindingFailed, class, "fast image creation takes STANDARD only")
	}
}

// checkPut puts an object with its Content-MD5; false when that fails.
func (d *doctor) checkPut(ctx context.Context) bool {
	d.touched = true
	body := []byte("fastimage doctor\n")
	info, err := d.obs.PutObject(ctx, d.bucket, d.prefix+"put", body)
	if err != nil {
		d.fails("put", err)
		return false
	}
	d.ok("put", "an object with Content-MD5 is accepted")
	if d.encrypted = info.Encrypted; d.encrypted {
		d.add("default encryption", FindingWarning, "on", "checksums of parts and objects cannot be compared after the upload; Content-MD5 still protects them in transit")
		d.add("etag", FindingWarning, info.ETag+" is not an MD5", "as above")
	} else {
		d.ok("default encryption", "off, or not visible")
		d.ok("etag", fmt.Sprintf("%s, the MD5 of the content", info.ETag))
	}
	if info, err = d.obs.HeadObject(ctx, d.bucket, d.prefix+"put"); err != nil {
		d.fails("head", err)
	} else {
		d.class("object class", info.StorageClass)
	}
	return true
}

// checkDigest sends a Content-MD5 that is not the body's.
func (d *doctor) checkDigest(ctx context.Context) {
	const name = "wrong content-md5"
	_, err := d.obs.PutObject(ctx, d.bucket, d.prefix+"wrong", []byte("one thing"), uploader.WithContentMD5(md5.Sum([]byte("another thing"))))
	var answer *uploader.Error
	switch {
	case errors.As(err, &answer) && answer.StatusCode != 0 && errors.Is(err, uploader.ErrBadDigest):
		d.ok(name, fmt.Sprintf("refused (HTTP %d %s)", answer.StatusCode, answer.Code))
	case err == nil || errors.Is(err, uploader.ErrBadDigest):
		d.add(name, FindingWarning, "accepted", "corruption in transit is found only by comparing ETags, which every upload does unless the bucket encrypts")
	default:
		d.inconclusive(name, err)
	}
}

func (d *doctor) checkCopy(ctx context.Context) {
	const name = "copying of parts"
	switch err := d.obs.ProbeCopy(ctx, d.bucket, d.prefix+"put"); {
	case err == nil:
		d.ok(name, "UploadPartCopy works")
	case errors.Is(err, uploader.ErrCopyRefused):
		d.add(name, FindingWarning, pkgerr.Text(err), "zeros of RAW objects are sent over the network; ZVHD2 has none")
	default:
		d.inconclusive(name, err)
	}
}

// checkMultipart uploads an object in parts, one of them zeros.
func (d *doctor) checkMultipart(ctx context.Context) {
	const name = "multipart upload"
	up, err := uploader.New(d.obs, uploader.WithPartSize(uploader.MinPartSize))
	if err != nil {
		d.fails(name, err)
		return
	}
	res, err := up.UploadReaderAt(ctx, d.bucket, d.prefix+"multipart", bytes.NewReader(doctorBytes()), doctorData)
	if err != nil {
		d.fails(name, err)
		return
	}
	d.ok(name, fmt.Sprintf("%d parts, %d of them copied, ETag %s", res.Parts, res.CopiedParts, res.ETag))
	if res.CleanupErr != nil {
		d.add("removal", FindingWarning, pkgerr.Text(res.CleanupErr), "objects that help an upload may stay in the bucket")
	}
}

func doctorBytes() []byte {
	data := make([]byte, doctorData)
	_, _ = rand.Read(data[:uploader.MinPartSize]) // never fails
	copy(data[2*uploader.MinPartSize:], "the end")
	return data
}

// checkRanges reads a few bytes out of the middle of an object; false when that fails.
func (d *doctor) checkRanges(ctx context.Context) bool {
	const name = "range reads"
	object, err := d.obs.OpenObject(ctx, d.bucket, d.prefix+"multipart")
	if err == nil {
		defer object.Close()
		got := make([]byte, 7)
		if _, err = object.ReadAt(got, 2*uploader.MinPartSize); err == nil && string(got) != "the end" {
			err = fmt.Errorf("%w: other bytes than were asked for", ErrProtocol)
		}
	}
	if err != nil {
		d.add(name, FindingFailed, pkgerr.Text(err), "uploads cannot be read back")
		return false
	}
	d.ok(name, "the bytes asked for, and no others")
	return true
}

// checkImport makes a small data disk image and leaves its removal to cleanUp.
func (d *doctor) checkImport(ctx context.Context) {
	const name = "import"
	began := time.Now()
	d.image = "fastimage-doctor-" + path.Base(d.prefix)
	res, err := d.tryImport(ctx)
	if errors.Is(err, ErrValidation) {
		d.image = "" // nothing was asked for
	}
	if err != nil {
		d.fails(name, err)
		return
	}
	d.ok(name, fmt.Sprintf("%s image %s active after %.1f s", d.opt.format, res.ImageID, time.Since(began).Seconds()))
	d.checkLazyLoading(ctx, res.ImageID)
}

// checkLazyLoading reports whether servers can boot from the account's images
// while they are being copied.
func (d *doctor) checkLazyLoading(ctx context.Context, id string) {
	const name = "lazy loading"
	switch img, err := d.ImageByID(ctx, id); {
	case err != nil:
		d.note(name, FindingUnknown, err)
	case img.LazyLoading == nil:
		d.add(name, FindingUnknown, "the service does not say", "")
	case *img.LazyLoading:
		d.ok(name, "supported by the image")
	default:
		d.add(name, FindingWarning, "not supported by the image", "the service converted it to ZVHD: the account lacks the role op_gated_lld, so servers take longer to create")
	}
}

func (d *doctor) tryImport(ctx context.Context) (*Result, error) {
	// A source without an identity is not recorded.
	disk := Disk(bytes.NewReader(doctorBytes()), doctorData, SourceInfo{Name: "trial disk"})
	img := Image{Name: d.image, Type: TypeData, Bucket: d.bucket, Key: d.prefix + "disk." + string(d.opt.format)}
	return d.Import(ctx, disk, img, d.trial...)
}

// cleanUp removes images, objects and unfinished uploads.
func (d *doctor) cleanUp(ctx context.Context) error {
	var errs []error
	if d.image != "" {
		errs = append(errs, d.removeImages(ctx))
	}
	if !d.touched {
		return errors.Join(errs...)
	}
	for object, err := range d.obs.Objects(ctx, d.bucket, d.prefix) {
		if err == nil {
			err = d.obs.DeleteObject(ctx, d.bucket, object.Key)
		}
		errs = append(errs, err)
	}
	_, err := d.obs.AbortStale(ctx, d.bucket, d.prefix, time.Time{})
	return errors.Join(append(errs, err)...)
}

// removeImages looks for the image by its name, which nobody else has: an
// import that was cancelled, or whose answer was lost, knows no id.
func (d *doctor) removeImages(ctx context.Context) error {
	found, err := d.ImagesByName(ctx, d.image)
	errs := []error{err}
	for _, img := range found {
		errs = append(errs, d.deleteImage(ctx, img.ID))
	}
	return errors.Join(errs...)
}
