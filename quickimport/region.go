package quickimport

import "cmp"

// defaultDomain is that of the vendor's own cloud.
const defaultDomain = "myhuaweicloud.com"

// cloudNames are how the services of a cloud are called: ims.{region}.{domain},
// and object storage and identity by other names where they differ.
type cloudNames struct{ domain, obs, iam string }

// regions are those of clouds with a domain of their own.
var regions = map[string]cloudNames{
	"eu-west-101": {domain: "myhuaweicloud.eu"},
	"eu-de":       {domain: "otc.t-systems.com"},
	"eu-nl":       {domain: "otc.t-systems.com"},
	"eu-ch2":      {domain: "sc.otc.t-systems.com", iam: "iam-pub"},
	"eu-west-0":   {domain: "prod-cloud-ocb.orange-business.com", obs: "oss"},
	"ae-ad-1":     {domain: "g42cloud.com"},
	"ru-moscow-1": {domain: "hc.sbercloud.ru"},
}

// RegionDomain returns the domain of a region's endpoints, myhuaweicloud.com for
// regions that are not known to have another.
func RegionDomain(region string) string { return cmp.Or(regions[region].domain, defaultDomain) }

// setEndpoints fills in the endpoints that were not set.
func (o *options) setEndpoints() {
	names := regions[o.region]
	domain := cmp.Or(o.domain, names.domain, defaultDomain)
	for service, to := range map[string]*string{"ims": &o.ims, cmp.Or(names.obs, "obs"): &o.obs, cmp.Or(names.iam, "iam"): &o.iam} {
		*to = cmp.Or(*to, "https://"+service+"."+o.region+"."+domain)
	}
}
