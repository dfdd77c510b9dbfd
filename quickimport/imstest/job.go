package imstest

import (
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	maxImage = 1 << 40 // bytes of an object and of a disk
	maxJobs  = 40      // unfinished jobs, with JobLimit
)

// create checks the request and the object, then starts a job.
func (m *imsService) create(body []byte, f *Fault) (any, *apiError) {
	q, e := parseCreate(body)
	if e == nil {
		e = q.checkVariants(m.variants)
	}
	if e != nil {
		return nil, e
	}
	img := q.image(m.clock().UTC())
	if e := m.checkObject(img); e != nil {
		return nil, e
	}
	job := &jobState{Job: Job{ID: strings.ReplaceAll(uuid.NewString(), "-", ""), Type: "imsImportImageJob", Status: "INIT",
		Begin: m.clock().UTC(), ImageID: img.ID, ImageName: img.Name}}
	if q.data() {
		job.Type = "imsImportDataImageJob"
	}
	job.FailWith, job.FailWhy = f.JobCode, f.JobReason
	img.JobID = job.ID
	if e := m.admit(img, job, f.ListLate); e != nil {
		return nil, e
	}
	m.start(job.ID)
	return map[string]string{"job_id": job.ID}, nil
}

// image returns the image that the request describes, queued.
func (q *createRequest) image(now time.Time) *Image {
	img := &Image{ID: uuid.NewString(), Name: *q.Name, Description: q.Description, Status: "queued", Type: q.Type,
		Visibility: visiblePrivate, MinDisk: *q.MinDisk, OSType: "Linux", Architecture: q.Architecture, Firmware: q.Firmware,
		License: q.License, EnterpriseProjectID: q.EnterpriseProjectID, Created: now, Tags: map[string]string{}}
	if img.Type == "" {
		img.Type = "ECS"
	}
	if q.OSVersion != nil {
		img.OSVersion = strings.TrimSpace(*q.OSVersion)
		if strings.HasPrefix(img.OSVersion, "Windows") {
			img.OSType = "Windows"
		}
	}
	if q.OSType != nil {
		img.OSType = *q.OSType
	}
	for _, t := range q.Tags {
		k, v, _ := strings.Cut(t, ".")
		img.Tags[k] = v
	}
	for _, t := range q.ImageTags {
		img.Tags[strings.TrimSpace(*t.Key)] = strings.TrimSpace(*t.Value)
	}
	img.Bucket, img.Key = q.location()
	return img
}

// admit records image and job, unless the name is taken or the quota exhausted.
func (m *imsService) admit(img *Image, job *jobState, late int) *apiError {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.variants[SharedNames] && m.taken(img.Name) {
		return bad("IMG.0009", "The image name already exists.")
	}
	if m.variants[JobLimit] && m.unfinished() >= maxJobs {
		return bad("IMG.0060", "The system is busy. Please try again later.")
	}
	if m.private() >= m.quota {
		return bad("IMG.0015", "The image quota is insufficient.")
	}
	if late != 0 {
		m.late[img.ID] = late
	}
	m.images[img.ID], m.jobs[job.ID] = img, job
	err := errors.Join(writeJSON(m.imageFile(img.ID), img, m.store.durable), writeJSON(m.jobFile(job.ID), job, m.store.durable))
	if err != nil {
		return &apiError{500, "IMG.0061", "Unknown system error."}
	}
	return nil
}

// unfinished counts the jobs that have not ended; the caller holds mu.
func (m *imsService) unfinished() int {
	n := 0
	for _, j := range m.jobs {
		if j.End.IsZero() {
			n++
		}
	}
	return n
}

// checkObject checks the object's properties and its first bytes.
func (m *imsService) checkObject(img *Image) *apiError {
	b, ok := m.store.bucket(img.Bucket)
	switch {
	case !ok:
		return bad("IMG.0069", "The OBS bucket does not exist or cannot be accessed.")
	case b.Region != m.region:
		return bad("IMG.0058", "The OBS bucket is in another region.")
	}
	or, err := m.store.open(img.Bucket, img.Key)
	var oe *obsError
	if errors.As(err, &oe) && oe.Code == "NoSuchKey" {
		return bad("IMG.0121", "The image file does not exist in the OBS bucket.")
	}
	if err != nil {
		return bad("IMG.0069", "The OBS bucket cannot be accessed.")
	}
	defer or.Close()
	switch {
	case b.StorageClass != standardClass || or.StorageClass != standardClass:
		return bad("IMG.0057", "The image file cannot be accessed: bucket and file must be of the Standard storage class.")
	case or.Size == 0:
		return bad("IMG.0057", "The image file is empty.")
	case or.Size > maxImage:
		return bad("IMG.0059", "The image file is too large.")
	}
	if e := m.checkFormat(img, or); e != nil {
		return e
	}
	if img.DiskSize > maxImage {
		return bad("IMG.0059", "The disk in the image file is larger than 1 TB.")
	}
	if int64(img.MinDisk)<<30 < img.DiskSize {
		return bad("IMG.0055", "min_disk is smaller than the disk in the image file.")
	}
	return nil
}

const msgFormat = "Only image files in raw OR ZVHD2 format support the Fast Create function. " +
	"For raw image files, bitmaps must be uploaded to the OBS bucket together with image files."

func (m *imsService) checkFormat(img *Image, or *objectReader) *apiError {
	head := make([]byte, 4096)
	n, err := or.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return bad("IMG.0057", "The image file cannot be read.")
	}
	head = head[:n]
	if strings.HasPrefix(string(head), "z2strm") {
		img.Format = "zvhd2"
		if n >= 48 {
			img.DiskSize = int64(min(binary.LittleEndian.Uint64(head[40:]), 1<<62))
		}
		return nil
	}
	for _, magic := range []string{"QFI\xfb", "KDMV", "# Disk Descr", "COWD", "conectix", "vhdxfile", "<<< ", "QED\x00", "stream", "\x1f\x8b", "\xfd7zXZ\x00", "\x28\xb5\x2f\xfd"} {
		if strings.HasPrefix(string(head), magic) {
			return bad("IMG.0158", msgFormat)
		}
	}
	img.Format, img.DiskSize = "raw", or.Size
	mf, err := m.store.open(img.Bucket, strings.TrimSuffix(img.Key, path.Ext(img.Key))+".mf")
	if err != nil {
		return bad("IMG.0158", msgFormat)
	}
	defer mf.Close()
	if mf.Size == 0 || mf.StorageClass != standardClass {
		return bad("IMG.0158", msgFormat)
	}
	return nil
}

func (m *imsService) start(id string) { m.wg.Go(func() { m.run(id) }) }

// resume restarts the jobs that an earlier server on this directory left unfinished.
func (m *imsService) resume() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range collectKeys(m.jobs) {
		if s := m.jobs[id].Status; s == "INIT" || s == "RUNNING" {
			m.start(id)
		}
	}
}

func collectKeys[V any](in map[string]V) []string {
	var out []string
	for k := range maps.Keys(in) {
		out = append(out, k)
	}
	return out
}

// pause waits for a quarter of a job's duration. It returns false if the server stops.
func (m *imsService) pause() bool {
	select {
	case <-time.After(m.jobDuration / 4):
		return m.ctx.Err() == nil
	case <-m.ctx.Done():
		return false
	}
}

func (m *imsService) run(id string) {
	m.mu.Lock()
	j := m.jobs[id]
	img := m.images[j.ImageID]
	m.mu.Unlock()
	if !m.pause() {
		return
	}
	m.update(j, func() { j.Status, j.Percent = "RUNNING", 1 })
	if !m.pause() {
		return
	}
	err := m.process(j, img)
	if m.ctx.Err() != nil || !m.pause() {
		return
	}
	if err != nil {
		m.fail(j, err)
		return
	}
	m.update(j, func() { j.Percent = 99 })
	if !m.pause() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	img.Status = "active"
	j.Status, j.Percent, j.End = "SUCCESS", 100, m.clock().UTC()
	if m.images[img.ID] != nil {
		m.save(writeJSON(m.imageFile(img.ID), img, m.store.durable))
	}
	m.save(writeJSON(m.jobFile(j.ID), j, m.store.durable))
}

func (m *imsService) save(err error) {
	if err != nil {
		m.logger.Error("state not written", "error", err)
	}
}

func (m *imsService) update(j *jobState, f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	m.save(writeJSON(m.jobFile(j.ID), j, m.store.durable))
}

func (m *imsService) fail(j *jobState, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ae *apiError
	if !errors.As(err, &ae) {
		ae = bad("IMG.0057", "The image file is damaged or cannot be accessed.")
	}
	j.Status, j.End = "FAIL", m.clock().UTC()
	j.Code, j.Reason, j.Detail = ae.Code, ae.Message, err.Error()
	delete(m.images, j.ImageID)
	_ = os.Remove(m.imageFile(j.ImageID))
	m.save(writeJSON(m.jobFile(j.ID), j, m.store.durable))
}

// process reads the object as the service would to convert it.
func (m *imsService) process(j *jobState, img *Image) error {
	if j.FailWith != "" {
		return bad(j.FailWith, j.FailWhy)
	}
	if img == nil {
		return errs.New("the image was deleted")
	}
	or, err := m.store.open(img.Bucket, img.Key)
	if err != nil {
		return errs.Errorf("open the image file: %w", err)
	}
	defer or.Close()
	if img.Format != "zvhd2" {
		return nil
	}
	select {
	case m.readers <- struct{}{}:
	case <-m.ctx.Done():
		return m.ctx.Err()
	}
	defer func() { <-m.readers }()
	return checkZVHD2(m.ctx, or, or.Size, func(done, total int64) {
		m.mu.Lock()
		j.Percent = int(1 + 97*done/max(total, 1))
		m.mu.Unlock()
	})
}
