// Every word that a person reads, in the languages we speak. Keys are the same in each table; a test compares them.

const STRINGS = {
    en: {
        reconnecting: "Reconnecting…",
        reconnectingHint: "The stream was interrupted. It comes back by itself.",
        offlineHint: "This device is offline. The stream comes back with the network.",
        leaving: "Leaving the stream…",
        ended: "Stream ended",
        lost: "Connection lost",
        startNew: "Start new stream",
        tryAgain: "Try again",
        reason: {
            deleted: "The session was closed by the service.",
            quit: "You left the stream.",
            crashed: "The stream stopped because of a technical problem.",
            connect_timeout: "Nobody connected to the stream in time.",
            idle_timeout: "The stream was closed because nobody was connected for a while.",
            max_duration: "The time for this stream is over.",
            body_lost: "The computer that ran the stream stopped answering.",
            drained: "The server was taken out of service for maintenance.",
            shutdown: "The server was shut down.",
            replaced: "A newer stream took over this computer.",
            create_failed: "The stream could not be started.",
            unknown: "This stream does not exist any more.",
            lost: "The stream could not be reached again. Check your network, then try once more.",
        },
    },
    nl: {
        reconnecting: "Opnieuw verbinden…",
        reconnectingHint: "De stream is onderbroken. Hij komt vanzelf terug.",
        offlineHint: "Dit apparaat is offline. De stream komt terug zodra er netwerk is.",
        leaving: "De stream wordt verlaten…",
        ended: "Stream beëindigd",
        lost: "Verbinding verbroken",
        startNew: "Nieuwe stream starten",
        tryAgain: "Opnieuw proberen",
        reason: {
            deleted: "De sessie is door de dienst gesloten.",
            quit: "Je hebt de stream verlaten.",
            crashed: "De stream is gestopt door een technisch probleem.",
            connect_timeout: "Niemand heeft op tijd verbinding gemaakt met de stream.",
            idle_timeout: "De stream is gesloten omdat er een tijd niemand verbonden was.",
            max_duration: "De tijd voor deze stream is om.",
            body_lost: "De computer die de stream draaide, antwoordt niet meer.",
            drained: "De server is buiten gebruik genomen voor onderhoud.",
            shutdown: "De server is uitgeschakeld.",
            replaced: "Een nieuwere stream heeft deze computer overgenomen.",
            create_failed: "De stream kon niet worden gestart.",
            unknown: "Deze stream bestaat niet meer.",
            lost: "De stream is niet meer te bereiken. Controleer je netwerk en probeer het opnieuw.",
        },
    },
    fr: {
        reconnecting: "Reconnexion…",
        reconnectingHint: "Le stream a été interrompu. Il revient tout seul.",
        offlineHint: "Cet appareil est hors ligne. Le stream revient avec le réseau.",
        leaving: "Vous quittez le stream…",
        ended: "Stream terminé",
        lost: "Connexion perdue",
        startNew: "Démarrer un nouveau stream",
        tryAgain: "Réessayer",
        reason: {
            deleted: "La session a été fermée par le service.",
            quit: "Vous avez quitté le stream.",
            crashed: "Le stream s’est arrêté à cause d’un problème technique.",
            connect_timeout: "Personne ne s’est connecté au stream à temps.",
            idle_timeout: "Le stream a été fermé : personne n’était connecté depuis un moment.",
            max_duration: "La durée prévue pour ce stream est écoulée.",
            body_lost: "L’ordinateur qui exécutait le stream ne répond plus.",
            drained: "Le serveur a été retiré du service pour maintenance.",
            shutdown: "Le serveur a été arrêté.",
            replaced: "Un stream plus récent utilise maintenant cet ordinateur.",
            create_failed: "Le stream n’a pas pu démarrer.",
            unknown: "Ce stream n’existe plus.",
            lost: "Le stream est resté injoignable. Vérifiez votre réseau, puis réessayez.",
        },
    },
    de: {
        reconnecting: "Verbindung wird wiederhergestellt…",
        reconnectingHint: "Der Stream wurde unterbrochen. Er kommt von selbst zurück.",
        offlineHint: "Dieses Gerät ist offline. Der Stream kommt mit dem Netz zurück.",
        leaving: "Der Stream wird verlassen…",
        ended: "Stream beendet",
        lost: "Verbindung verloren",
        startNew: "Neuen Stream starten",
        tryAgain: "Erneut versuchen",
        reason: {
            deleted: "Die Sitzung wurde vom Dienst geschlossen.",
            quit: "Du hast den Stream verlassen.",
            crashed: "Der Stream wurde wegen eines technischen Problems beendet.",
            connect_timeout: "Niemand hat sich rechtzeitig mit dem Stream verbunden.",
            idle_timeout: "Der Stream wurde geschlossen, weil eine Weile niemand verbunden war.",
            max_duration: "Die Zeit für diesen Stream ist abgelaufen.",
            body_lost: "Der Computer, auf dem der Stream lief, antwortet nicht mehr.",
            drained: "Der Server wurde für Wartungsarbeiten außer Betrieb genommen.",
            shutdown: "Der Server wurde heruntergefahren.",
            replaced: "Ein neuerer Stream hat diesen Computer übernommen.",
            create_failed: "Der Stream konnte nicht gestartet werden.",
            unknown: "Diesen Stream gibt es nicht mehr.",
            lost: "Der Stream ist nicht mehr erreichbar. Prüfe dein Netzwerk und versuche es noch einmal.",
        },
    },
};

/** The first of the browser's languages that we speak, else English. */
function chooseLanguage(preferred) {
    const spoken = preferred.map(tag => tag.toLowerCase().split("-")[0]).find(tag => Object.hasOwn(STRINGS, tag));
    return spoken ?? "en";
}

const LANGUAGE = chooseLanguage(navigator.languages ?? [navigator.language ?? "en"]);
const TEXT = STRINGS[LANGUAGE];

/** A reason code in words. A code that is newer than this script reads as "does not exist any more". */
function reasonInWords(code) {
    return Object.hasOwn(TEXT.reason, code) ? TEXT.reason[code] : TEXT.reason.unknown;
}
