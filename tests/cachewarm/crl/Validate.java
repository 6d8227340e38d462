// Java's PKIX path validation with CRLs: `java Validate.java ROOT CERTIFICATE CRL...` prints OK or why not.
import java.io.FileInputStream;
import java.security.cert.CRL;
import java.security.cert.CertPath;
import java.security.cert.CertPathValidator;
import java.security.cert.CertPathValidatorException;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

public class Validate {
    public static void main(String[] names) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        X509Certificate root = (X509Certificate) factory.generateCertificate(new FileInputStream(names[0]));
        X509Certificate leaf = (X509Certificate) factory.generateCertificate(new FileInputStream(names[1]));
        List<CRL> crls = new ArrayList<>();
        for (int i = 2; i < names.length; i++) {
            crls.add(factory.generateCRL(new FileInputStream(names[i])));
        }
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
        parameters.setRevocationEnabled(true);
        parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(crls)));
        CertPath path = factory.generateCertPath(List.of(leaf));
        try {
            CertPathValidator.getInstance("PKIX").validate(path, parameters);
            System.out.println("OK");
        } catch (CertPathValidatorException refused) {
            System.out.println(refused.getReason() + ": " + refused.getMessage());
        }
    }
}
