// Every word of the player, in the languages we speak. Keys are the same in each table; a test compares them.

const STRINGS = {
    en: {
        title: "Stream",
        connecting: "Connecting…",
        waiting: "The stream is about to start…",
        full: "Every place is taken. Trying again…",
        reconnecting: "Reconnecting…",
        frozen: "The stream is being restarted…",
        unplayable: "This browser cannot play the stream.",
        over: "The stream has ended.",
        play: "Play",
        unmute: "Sound on",
        mute: "Sound off",
        fullScreen: "Full screen",
        window: "Leave full screen",
    },
    nl: {
        title: "Stream",
        connecting: "Verbinden…",
        waiting: "De stream begint zo…",
        full: "Alle plaatsen zijn bezet. Opnieuw proberen…",
        reconnecting: "Opnieuw verbinden…",
        frozen: "De stream wordt opnieuw gestart…",
        unplayable: "Deze browser kan de stream niet afspelen.",
        over: "De stream is beëindigd.",
        play: "Afspelen",
        unmute: "Geluid aan",
        mute: "Geluid uit",
        fullScreen: "Volledig scherm",
        window: "Volledig scherm verlaten",
    },
    fr: {
        title: "Stream",
        connecting: "Connexion…",
        waiting: "Le stream va commencer…",
        full: "Toutes les places sont prises. Nouvel essai…",
        reconnecting: "Reconnexion…",
        frozen: "Le stream redémarre…",
        unplayable: "Ce navigateur ne peut pas lire le stream.",
        over: "Le stream est terminé.",
        play: "Lecture",
        unmute: "Activer le son",
        mute: "Couper le son",
        fullScreen: "Plein écran",
        window: "Quitter le plein écran",
    },
    de: {
        title: "Stream",
        connecting: "Verbindung wird hergestellt…",
        waiting: "Der Stream beginnt gleich…",
        full: "Alle Plätze sind belegt. Neuer Versuch…",
        reconnecting: "Verbindung wird wiederhergestellt…",
        frozen: "Der Stream wird neu gestartet…",
        unplayable: "Dieser Browser kann den Stream nicht abspielen.",
        over: "Der Stream ist beendet.",
        play: "Abspielen",
        unmute: "Ton an",
        mute: "Ton aus",
        fullScreen: "Vollbild",
        window: "Vollbild verlassen",
    },
};

/** The first language of the person that we speak. */
const LANGUAGE = (navigator.languages ?? [navigator.language])
    .map(tag => String(tag).toLowerCase().split("-")[0])
    .find(tag => tag in STRINGS) ?? "en";
const WORDS = STRINGS[LANGUAGE];
