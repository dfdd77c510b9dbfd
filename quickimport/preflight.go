package quickimport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fastimage/fastimage/rawimage"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

// preflight refuses what is known to fail, before anything is sent.
func (im *importer) preflight(ctx context.Context) error {
	var v validation
	im.img.validate(&v)
	unchecked := errors.Join(im.checkSource(ctx, &v), im.checkCloud(ctx, &v))
	if ctx.Err() != nil {
		return wrap("preflight", ctx.Err())
	}
	if unchecked != nil && len(v.problems) > 0 {
		v.problems = append(v.problems, Problem{Field: "preflight", Rule: "could not check all: " + bare(unchecked), Advice: "there may be more reasons", Err: unchecked})
	}
	if err := v.err(); err != nil {
		return err
	}
	if unchecked != nil {
		return unchecked
	}
	for _, w := range im.plan.Warnings {
		im.o.logger.LogAttrs(ctx, slog.LevelWarn, w)
	}
	im.res.Warnings = im.plan.Warnings
	return nil
}

// checkSource checks the disk. What it returns is an error of reading; what
// is wrong with the disk goes to v.
func (im *importer) checkSource(ctx context.Context, v *validation) error {
	size, name := im.src.Size(), im.src.Name()
	v.check(size <= MaxImageSize, "file", name, "IMG.0059", fmt.Sprintf("has a disk of %d bytes, fast image creation takes at most 1 TB (%d)", size, int64(MaxImageSize)), "import it in parts, or by the service's slow way")
	gb := (size + 1<<30 - 1) >> 30
	v.check(int64(im.img.MinDisk) >= gb || im.img.MinDisk < 1 || size > MaxImageSize, "min_disk", strconv.Itoa(im.img.MinDisk), "IMG.0055", fmt.Sprintf("must be at least the disk's size, %d GB", gb), fmt.Sprintf("use %d, or leave it out", gb))
	im.plan = im.newPlan()
	if err := im.inspect(ctx, v); err != nil {
		return err
	}
	if im.object {
		return im.checkObject(ctx, v)
	}
	if im.format == FormatRaw {
		if im.src.image == nil {
			v.check(false, "file", name, "", "can only be read in order, so it cannot become a RAW object", "import it as zvhd2, or decompress it to a file first")
			return nil
		}
		if err := im.checkMF(ctx, v); err != nil {
			return err
		}
	}
	return im.planUpload()
}

// probeName is the object by which the bucket is tried, in the folder of the
// target. It is always the same, so that one that a killed process left behind
// is removed by the next.
const probeName = ".fastimage-preflight"

func probeKey(key string) string {
	if probe := path.Join(path.Dir(key), probeName); len(probe) <= maxKey {
		return probe
	}
	return probeName
}

// checkCloud asks the cloud, all questions at once. What it returns is an
// error that kept it from asking; what would fail goes to v.
func (im *importer) checkCloud(ctx context.Context, v *validation) error {
	if _, err := im.creds.Credentials(ctx); err != nil {
		v.problem("credentials", "", err)
		return nil
	}
	broken := map[string]bool{}
	for _, p := range v.problems {
		broken[p.Field] = true
	}
	checks := []cloudCheck{
		{"project", im.o.region, func(ctx context.Context) error { _, err := im.ProjectID(ctx); return err }},
		{"quota", "", im.checkQuota},
	}
	if !broken["name"] {
		checks = append(checks, cloudCheck{"name", im.img.Name, im.nameFree})
	}
	if !broken["image_url"] {
		checks = append(checks, cloudCheck{"bucket", im.img.Bucket, im.checkBucket})
	}
	return im.ask(ctx, checks, v)
}

type cloudCheck struct {
	field, value string
	ask          func(context.Context) error
}

func (im *importer) ask(ctx context.Context, checks []cloudCheck, v *validation) error {
	errs := make([]error, len(checks))
	var g errgroup.Group
	for i, c := range checks {
		g.Go(func() error { errs[i] = c.ask(ctx); return nil })
	}
	_ = g.Wait() // the errors are in errs
	var failed []error
	refused := false
	for i, err := range errs {
		switch auth := errors.Is(err, ErrAuthentication); {
		case err == nil, auth && refused:
		case auth:
			refused = true // every call to the service says the same
			v.problem("credentials", "", err)
		case definite(err):
			v.problem(checks[i].field, checks[i].value, err)
		default:
			failed = append(failed, wrap("preflight", err))
		}
	}
	return errors.Join(failed...)
}

// definite tells errors that mean that the import would fail from those that
// another try may not meet.
func definite(err error) bool {
	for _, is := range []error{ErrNoCredentials, ErrAuthentication, ErrForbidden, ErrNotFound, ErrNameTaken, ErrObjectExists, ErrQuota,
		uploader.ErrNoSuchBucket, uploader.ErrNoSuchKey, uploader.ErrWrongRegion, uploader.ErrStorageClass, uploader.ErrAccessDenied, uploader.ErrCredentials,
		uploader.ErrInvalidName, uploader.ErrBadDigest, rawimage.ErrForeignFormat, rawimage.ErrEmpty,
		zvhd2.ErrDamaged, zvhd2.ErrTruncated, zvhd2.ErrUnsupported} {
		if errors.Is(err, is) {
			return true
		}
	}
	api := (*APIError)(nil)
	return errors.As(err, &api) && !api.Retryable
}

// advices are what to do about a condition.
var advices = []struct {
	is     error
	code   string
	advice string
}{
	{ErrNoCredentials, "", "give an access key and a secret key"},
	{ErrAuthentication, "", "check the keys or the token, and this machine's clock"},
	{ErrNameTaken, "IMG.0009", "choose another name, or remove that image"},
	{ErrObjectExists, "", "choose another key, remove the object, or allow it to be replaced"},
	{ErrQuota, "IMG.0015", "remove images, or ask for a larger quota"},
	{uploader.ErrNoSuchBucket, "IMG.0069", "make the bucket, or name another"},
	{uploader.ErrNoSuchKey, "IMG.0121", "upload the object first, or check its key"},
	{uploader.ErrWrongRegion, "IMG.0058", "use a bucket in the region of the image service"},
	{uploader.ErrStorageClass, "IMG.0057", "use a bucket and an object of the class STANDARD"},
	{uploader.ErrAccessDenied, "IMG.0069", "the keys need the rights to write and read objects in the bucket"},
	{uploader.ErrCredentials, "", "check the access key, the secret key and this machine's clock"},
	{ErrForbidden, "", "the account needs rights on the image service and on the bucket"},
	{ErrNotFound, "", "check the region and the project"},
	{uploader.ErrInvalidName, "IMG.0017", "choose another name"},
	{uploader.ErrBadDigest, "", "something on the way changes data: try another network"},
	{rawimage.ErrForeignFormat, "IMG.0158", "import the disk image itself, or convert it to ZVHD2 first"},
	{rawimage.ErrTruncated, "", "fetch the file again"},
	{rawimage.ErrEmpty, "IMG.0057", "look at what was to write it"},
	{rawimage.ErrNotImage, "", "name a disk image or a block device"},
	{anyimage.ErrUnsupported, "", "convert it to RAW or QCOW2 first"},
	{zvhd2.ErrUnsupported, "IMG.0057", "create the file again"},
	{zvhd2.ErrDamaged, "IMG.0057", "create the file again, or fetch it again"},
	{zvhd2.ErrTruncated, "IMG.0057", "fetch the file again"},
	{rawimage.ErrDamaged, "", "the file is damaged"},
	{fs.ErrNotExist, "", "check the path"},
	{fs.ErrPermission, "", "check the permissions of the file and its directory"},
}

// problem notes an error as a reason why the import would fail.
func (v *validation) problem(field, value string, err error) {
	p := Problem{Field: field, Value: value, Rule: bare(err), Advice: "mend what the reason names", Err: err}
	for _, a := range advices {
		if errors.Is(err, a.is) {
			p.Code, p.Advice = a.code, a.advice
			break
		}
	}
	if damaged := (*anyimage.OpenError)(nil); errors.As(err, &damaged) {
		p.Advice = "look at the file with the tool that made it"
	}
	if api := (*APIError)(nil); errors.As(err, &api) && api.Code != "" {
		p.Code = api.Code
	}
	if mf := (*mfError)(nil); errors.As(err, &mf) {
		p.Advice = mf.advice
	}
	v.problems = append(v.problems, p)
}

// bare is an error's text without the name of the package that it is from.
func bare(err error) string {
	text := err.Error()
	for _, p := range []string{"quickimport: ", "uploader: ", "anyimage: ", "rawimage: ", "bitmap: ", "zvhd2: "} {
		text = strings.TrimPrefix(text, p)
	}
	return text
}

// nameFree finds an image that has the name. One that an earlier run of the
// same import has asked for is no hindrance.
func (im *importer) nameFree(ctx context.Context) error {
	if passed(im.journal.rec.Stage, stageSubmitting) {
		return nil
	}
	taken, err := im.ImagesByName(ctx, im.img.Name)
	if err == nil && len(taken) > 0 {
		err = fmt.Errorf("%w: it is that of image %s", ErrNameTaken, taken[0].ID)
	}
	return err
}

// checkQuota finds a quota that is used up. Not every account may read it:
// then it is left to the service.
func (im *importer) checkQuota(ctx context.Context) error {
	q, err := im.ImageQuota(ctx)
	if err != nil {
		im.o.logger.LogAttrs(ctx, slog.LevelDebug, "the quota was not checked", slog.String("reason", err.Error()))
		return nil
	}
	im.plan.Quota = q
	if q.Limit >= 0 && q.Used >= q.Limit {
		return fmt.Errorf("%w: %d of %d images", ErrQuota, q.Used, q.Limit)
	}
	return nil
}

// checkBucket finds a bucket that is missing, in another region, of another
// class or that takes no uploads, and an object that would be replaced.
func (im *importer) checkBucket(ctx context.Context) error {
	info, err := im.obs.CheckBucket(ctx, im.img.Bucket, standardClass)
	if err == nil && info.Region == "" {
		info.Region, err = im.obs.BucketLocation(ctx, im.img.Bucket)
		if err == nil && info.Region != "" && info.Region != im.o.region {
			err = fmt.Errorf("%w: %s is in %s, the image service in %s", uploader.ErrWrongRegion, im.img.Bucket, info.Region, im.o.region)
		}
	}
	if err != nil || im.object {
		return err
	}
	if err := im.objectsFree(ctx); err != nil {
		return err
	}
	return im.probeBucket(ctx)
}

func (im *importer) objectsFree(ctx context.Context) error {
	if im.opt.overwrite || im.journal.resumed {
		return nil
	}
	for _, key := range im.keys() {
		_, err := im.obs.HeadObject(ctx, im.img.Bucket, key)
		if err == nil {
			return fmt.Errorf("%w: %s:%s", ErrObjectExists, im.img.Bucket, key)
		}
		if !errors.Is(err, uploader.ErrNoSuchKey) {
			return err
		}
	}
	return nil
}

// probeBucket puts an object into the bucket and removes it: OBS answers HEAD
// where it refuses PUT.
func (im *importer) probeBucket(ctx context.Context) error {
	key := probeKey(im.img.Key)
	_, err := im.obs.PutObject(ctx, im.img.Bucket, key, []byte("fastimage: does this bucket take uploads?\n"))
	if err != nil {
		return err
	}
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout)
	defer cancel()
	if err := im.obs.DeleteObject(clean, im.img.Bucket, key); err != nil {
		im.o.logger.LogAttrs(ctx, slog.LevelWarn, "the object that tried the bucket was not removed", slog.String("key", key), slog.String("reason", err.Error()))
	}
	return nil
}
