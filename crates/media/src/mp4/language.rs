//! Languages as `mdhd` writes them, and as tags have them.

/// Codes of ISO 639-2, of terminology and of bibliography, and the two letters of ISO 639-1 for the same language.
const SHORT: &str = "\
    aar=aa abk=ab afr=af aka=ak alb=sq amh=am ara=ar arg=an arm=hy asm=as ava=av ave=ae \
    aym=ay aze=az bak=ba bam=bm baq=eu bel=be ben=bn bis=bi bod=bo bos=bs bre=br bul=bg \
    bur=my cat=ca ces=cs cha=ch che=ce chi=zh chu=cu chv=cv cor=kw cos=co cre=cr cym=cy \
    cze=cs dan=da deu=de div=dv dut=nl dzo=dz ell=el eng=en epo=eo est=et eus=eu ewe=ee \
    fao=fo fas=fa fij=fj fin=fi fra=fr fre=fr fry=fy ful=ff geo=ka ger=de gla=gd gle=ga \
    glg=gl glv=gv gre=el grn=gn guj=gu hat=ht hau=ha hbs=sh heb=he her=hz hin=hi hmo=ho \
    hrv=hr hun=hu hye=hy ibo=ig ice=is ido=io iii=ii iku=iu ile=ie ina=ia ind=id ipk=ik \
    isl=is ita=it jav=jv jpn=ja kal=kl kan=kn kas=ks kat=ka kau=kr kaz=kk khm=km kik=ki \
    kin=rw kir=ky kom=kv kon=kg kor=ko kua=kj kur=ku lao=lo lat=la lav=lv lim=li lin=ln \
    lit=lt ltz=lb lub=lu lug=lg mac=mk mah=mh mal=ml mao=mi mar=mr may=ms mkd=mk mlg=mg \
    mlt=mt mon=mn mri=mi msa=ms mya=my nau=na nav=nv nbl=nr nde=nd ndo=ng nep=ne nld=nl \
    nno=nn nob=nb nor=no nya=ny oci=oc oji=oj ori=or orm=om oss=os pan=pa per=fa pli=pi \
    pol=pl por=pt pus=ps que=qu roh=rm ron=ro rum=ro run=rn rus=ru sag=sg san=sa sin=si \
    slk=sk slo=sk slv=sl sme=se smo=sm sna=sn snd=sd som=so sot=st spa=es sqi=sq srd=sc \
    srp=sr ssw=ss sun=su swa=sw swe=sv tah=ty tam=ta tat=tt tel=te tgk=tg tgl=tl tha=th \
    tib=bo tir=ti ton=to tsn=tn tso=ts tuk=tk tur=tr twi=tw uig=ug ukr=uk urd=ur uzb=uz \
    ven=ve vie=vi vol=vo wel=cy wln=wa wol=wo xho=xh yid=yi yor=yo zha=za zho=zh zul=zu";

/// The tag (BCP 47) of three letters of ISO 639-2: two letters where there are some (RFC 5646 §2.2.1). `und` says nothing.
pub(super) fn tag(code: [u8; 3]) -> Option<String> {
    let code = std::str::from_utf8(&code).ok()?;
    if !code.bytes().all(|b| b.is_ascii_lowercase()) || code == "und" {
        return None;
    }
    let short = SHORT.split(' ').find_map(|pair| pair.strip_prefix(code)?.strip_prefix('='));
    Some(short.unwrap_or(code).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_as_short_as_can_be() {
        for (code, expect) in [
            (b"eng", Some("en")),
            (b"deu", Some("de")),
            (b"ger", Some("de")),
            (b"zul", Some("zu")),
            (b"aar", Some("aa")),
            // Lower Sorbian has no two letters.
            (b"dsb", Some("dsb")),
            (b"und", None),
            (b"EN\0", None),
            (b"\x60\x60\x60", None),
        ] {
            assert_eq!(tag(*code).as_deref(), expect, "{}", code.escape_ascii());
        }
        assert!(SHORT.split(' ').all(|pair| pair.len() == 6 && pair.as_bytes()[3] == b'='));
    }
}
